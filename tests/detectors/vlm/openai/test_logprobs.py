from __future__ import annotations

import math

import pytest
from tests.detectors.vlm.openai.model_server import tokens

from deeptrace.detectors.vlm.openai.logprobs import fake_probability
from deeptrace.schema import Label

HALF, TENTH = math.log(0.5), math.log(0.1)


@pytest.mark.parametrize(
    ("rows", "label", "expected"),
    [
        ([("FAKE", HALF, {"FAKE": HALF, "REAL": TENTH})], Label.FAKE, 0.5 / 0.6),
        ([("REAL", HALF, {"REAL": HALF, "FAKE": TENTH})], Label.REAL, 0.1 / 0.6),
        # pieces, case and quotes
        ([("**", -0.1), (" F", HALF, {"F": TENTH, " re": TENTH}), ("AKE", -0.1)], Label.FAKE, 0.6 / 0.7),
        ([('{"', -0.1), ("label", -0.1), ('":"', -0.1), ("Fake", HALF, {"Real": TENTH})], Label.FAKE, 0.5 / 0.6),
        # a key that is no label, and thoughts that are no answer
        ([("fake", -2.0), ("_probability", -0.1), (" REAL", HALF, {" FAKE": TENTH})], Label.REAL, 0.1 / 0.6),
        ([("REAL? ", -2.0), ("</think>", -0.1), ("FAKE", HALF, {"REAL": TENTH})], Label.FAKE, 0.5 / 0.6),
        # words of the explanation, of thoughts in other marks, and of a first impression are no label
        (
            [
                ('{"explanation": "', -0.1),
                ("fake", -2.0),
                (' hand", "label": "', -0.1),
                ("REAL", HALF, {"FAKE": TENTH}),
            ],
            Label.REAL,
            0.1 / 0.6,
        ),
        (
            [("[THINK]", -0.1), ("REAL", -2.0), ("[/THINK]", -0.1), ("FAKE", HALF, {"REAL": TENTH})],
            Label.FAKE,
            0.5 / 0.6,
        ),
        ([("REAL", -2.0), ("? No. ", -0.1), ("FAKE", HALF, {"REAL": TENTH})], Label.FAKE, 0.5 / 0.6),
        # the other word is not listed: as likely as it can be, by what is left or by the least likely one listed
        ([("FAKE", math.log(0.9))], Label.FAKE, 0.9),
        ([("FAKE", HALF, {"The": TENTH})], Label.FAKE, 0.5 / 0.6),
        ([("REAL", 0.0, {"REAL": 0.0})], Label.REAL, 0.0),
    ],
)
def test_the_share_of_fake(rows: list[tuple], label: Label, expected: float) -> None:
    assert fake_probability(tokens(*rows), label) == pytest.approx(expected)


@pytest.mark.parametrize("nothing", [None, {"content": None}, {}])
def test_no_logprobs_are_no_probability(nothing: object) -> None:
    assert fake_probability(nothing, Label.FAKE) is None


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        "FAKE",
        {"content": []},
        {"content": [1]},
        {"content": [{"token": None, "logprob": -1}]},
        {"content": [{"token": "FAKE", "logprob": "-1"}]},
        {"content": [{"token": "FAKE", "logprob": True}]},
        {"content": [{"token": "FAKE", "logprob": -1.0, "top_logprobs": 7}]},
        {"content": [{"token": "FAKE", "logprob": -1.0, "top_logprobs": [None]}]},
        tokens(("FAKE", 0.7)),
        tokens(("FAKE", math.nan)),
        tokens(("FAKE", -math.inf)),
        tokens(("FAKE", math.log(0.9), {"REAL": math.log(0.8)})),
        tokens(("REAL", -0.1)),
        tokens(("something else", -0.1)),
        tokens(("not ", -0.1), ("REAL", -0.1)),
    ],
)
def test_nonsense_is_an_error_and_never_a_number(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        fake_probability(wrong, Label.FAKE)
