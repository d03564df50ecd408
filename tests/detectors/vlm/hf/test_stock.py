"""Our preprocessing against transformers' own: against outputs kept in stock.npz, and directly where that runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs, needs_torchvision

torch = needs("torch")
needs("transformers")

from tests.detectors.vlm.hf.stock import CASES, QUESTION, REFERENCE, Case, clip, stock_outputs, summary  # noqa: E402
from tests.detectors.vlm.hf.tiny import KINDS, save_tiny  # noqa: E402

from deeptrace.detectors.vlm.hf.processors import ModelInputs, load_processor  # noqa: E402


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save_tiny(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def ours(case: Case, folder: Path) -> tuple[ModelInputs, str]:
    processor = load_processor(folder, request=case.request)
    # Qwen2-VL knows no times: they go into the question here, which the stock processor does not do.
    made = processor.process(clip(case), case.times_s, QUESTION)
    text = processor.tokenizer.decode(made.input_ids)
    if case.kind == "qwen2_vl":
        start = text.index("The frames of the video were taken at")
        text = text[:start] + text[text.index(" seconds. ") + len(" seconds. ") :]
    return made, text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pixels_tokens_and_times_equal_the_kept_outputs_to_the_last_bit(case, folders):
    made, text = ours(case, folders[case.kind])
    with np.load(REFERENCE) as kept:
        wanted = {name.partition("/")[2]: kept[name] for name in kept.files if name.startswith(f"{case.name}/")}
    assert text == str(wanted.pop("text"))
    found = summary(made.tensors)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert np.array_equal(found[name], value), name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pixels_tokens_and_times_equal_the_stock_processor(case, folders):
    needs_torchvision()
    wanted = stock_outputs(case, folders[case.kind])
    made, text = ours(case, folders[case.kind])
    tokenizer = load_processor(folders[case.kind]).tokenizer
    assert text == tokenizer.decode(wanted.pop("input_ids"))
    for name, value in made.tensors.items():
        if name == "mm_token_type_ids" and case.kind == "qwen2_vl":
            continue
        assert torch.equal(torch.as_tensor(wanted[name]).reshape(value.shape), value), name
