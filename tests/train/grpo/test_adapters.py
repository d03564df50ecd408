"""The grounded reward through the calls that TRL, verl and ms-swift make."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from tests.needs import needs
from tests.reward.callers import swift_rewards, trl_rewards, verl_custom_reward, verl_run_single
from tests.reward.test_trl_trainer import WORDS, tiny_language_model
from tests.train.grpo.answers import fake, real, said, trace

from deeptrace.errors import DataError, SettingsError
from deeptrace.schema import Label
from deeptrace.train.grpo.adapters.columns import text_of
from deeptrace.train.grpo.adapters.ms_swift import GroundedORM
from deeptrace.train.grpo.adapters.trl import grounded_reward_function, part_reward_function
from deeptrace.train.grpo.adapters.verl import compute_score
from deeptrace.train.grpo.reward import RewardWeights, grounded_reward

GENERATED, CAMERA = fake(trace()), real()
ANSWERS = [said(GENERATED, trace()), said(CAMERA, label=Label.REAL), "no idea", said(CAMERA, trace())]
TRUTHS = [GENERATED, CAMERA, GENERATED, CAMERA]
EXPECTED = [grounded_reward(text, truth) for text, truth in zip(ANSWERS, TRUTHS, strict=True)]
ROWS = [{"prompt": "Real?", "truth": truth.to_json(), "split": "train"} for truth in TRUTHS]


def test_trl_gets_the_rewards_in_order() -> None:
    needs("torch")
    found = trl_rewards(grounded_reward_function(), [row["prompt"] for row in ROWS], ANSWERS, ROWS)
    assert found.tolist() == pytest.approx(EXPECTED)


def test_trl_gets_the_rewards_of_conversations_and_logs_the_signs_of_hacking() -> None:
    logged: dict[str, float] = {}
    chats = [[{"role": "assistant", "content": text}] for text in ANSWERS]
    columns = {"truth": [row["truth"] for row in ROWS], "log_metric": logged.__setitem__, "trainer_state": None}
    found = grounded_reward_function()(prompts=[[]] * 4, completions=chats, completion_ids=[[1]] * 4, **columns)
    assert found == pytest.approx(EXPECTED)
    assert logged["grounded/reward"] == pytest.approx(sum(EXPECTED) / 4)
    assert all(math.isfinite(value) for value in logged.values())


def test_trl_gets_single_parts_and_none_where_they_do_not_apply() -> None:
    part = part_reward_function("box")
    assert part.__name__ == "box_reward"
    assert part(prompts=[], completions=ANSWERS, truth=[row["truth"] for row in ROWS]) == [1.0, None, None, None]
    with pytest.raises(SettingsError, match="none named 'length'"):
        part_reward_function("length")


@pytest.mark.slow
def test_a_step_of_trls_own_trainer_is_trained_on_the_grounded_reward(tmp_path: Path) -> None:
    trl = needs("trl")
    datasets = needs("datasets")
    model, tokenizer = tiny_language_model()
    seen: list[tuple[list[str], list[float]]] = []
    score = grounded_reward_function()

    def answer(words: str) -> str:
        """A random model speaks no protocol: its words choose one of the answers."""
        return ANSWERS[sum(map(ord, words)) % 4]

    def recorded(prompts: list[Any], completions: list[str], **columns: Any) -> list[float]:
        texts = [answer(words) for words in completions]
        seen.append((texts, score(prompts=prompts, completions=texts, **columns)))
        return seen[-1][1]

    arguments = trl.GRPOConfig(
        output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=4, num_generations=4,
        max_completion_length=6, use_cpu=True, bf16=False, report_to=[], logging_steps=1, save_strategy="no",
    )  # fmt: skip
    rows = datasets.Dataset.from_list([{"prompt": " ".join(WORDS[:3]), "truth": GENERATED.to_json()}] * 4)
    trainer = trl.GRPOTrainer(
        model=model, processing_class=tokenizer, reward_funcs=recorded, args=arguments, train_dataset=rows
    )
    trainer.train()
    texts, rewards = seen[0]
    assert rewards == pytest.approx([grounded_reward(text, GENERATED) for text in texts])
    logged = next(row for row in trainer.state.log_history if "grounded/reward" in row)
    assert logged["grounded/reward"] == pytest.approx(logged["reward"])


def test_verl_gets_numbers_under_the_same_keys_for_every_sample() -> None:
    called = verl_custom_reward(compute_score, {"weights": {"miss": 0.6}})
    samples = [
        {"data_source": "rewarddata", "response": text, "reward_model": {"ground_truth": truth.to_json()}}
        for text, truth in zip([*ANSWERS, said(GENERATED, label=Label.REAL)], [*TRUTHS, GENERATED], strict=True)
    ]
    results = [asyncio.run(verl_run_single(called, sample)) for sample in samples]
    assert [row["reward_score"] for row in results] == pytest.approx([*EXPECTED, -0.6])
    extras = [row["reward_extra_info"] for row in results]
    assert len({tuple(extra) for extra in extras}) == 1
    assert all(isinstance(value, float) and math.isfinite(value) for extra in extras for value in extra.values())
    assert [extra["readable"] for extra in extras] == [1.0, 1.0, 0.0, 1.0, 1.0]
    assert [extra["traces"] for extra in extras] == [1.0, 0.0, 0.0, 1.0, 0.0]


def test_verl_is_told_which_weight_makes_no_sense() -> None:
    with pytest.raises(SettingsError, match=r"verl, weights miss: .*less than 1"):
        compute_score("d", ANSWERS[0], GENERATED.to_json(), weights={"miss": 2})


def test_ms_swift_gets_the_rewards_and_subclasses_change_the_weights() -> None:
    needs("torch")

    class Stern(GroundedORM):
        weights = RewardWeights(false_alarm=0.75)

    orms: dict[str, Any] = {"grounded": GroundedORM, "stern": Stern}
    assert swift_rewards(orms, "grounded", ANSWERS, ROWS).tolist() == pytest.approx(EXPECTED)
    assert swift_rewards(orms, "stern", ANSWERS, ROWS).tolist()[3] == pytest.approx(EXPECTED[3] - 0.05)


def test_a_batch_without_truths_says_what_to_do() -> None:
    with pytest.raises(SettingsError, match=r"TRL: no column 'truth' among: label\. Fill it with Truth\.to_json"):
        grounded_reward_function()(prompts=[], completions=["REAL"], label=["REAL"])
    with pytest.raises(SettingsError, match="a truth for each of 2 completions"):
        grounded_reward_function()(prompts=[], completions=["REAL", "FAKE"], truth=[CAMERA.to_json()])
    with pytest.raises(DataError, match="truth column"):
        GroundedORM()(["REAL"], truth=["{}"])
    with pytest.raises(SettingsError, match="but got int"):
        GroundedORM()(["REAL"], truth=[3])


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("REAL.", "REAL."),
        ([{"role": "assistant", "content": "REAL."}], "REAL."),
        (
            [{"role": "user", "content": "?"}, {"role": "assistant", "content": [{"type": "text", "text": "FAKE."}]}],
            "FAKE.",
        ),
    ],
)
def test_completions_are_read_as_text_or_messages(completion, text) -> None:
    assert text_of(completion) == text


def test_a_completion_that_is_neither_is_refused() -> None:
    with pytest.raises(SettingsError, match="completion: expected text or messages but got int"):
        text_of(3)
