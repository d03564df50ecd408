"""What a person types: every architecture through `detect` and `eval`, planned, resumed, calibrated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.needs import needs
from typer.testing import CliRunner

torch = needs("torch")
needs("transformers")

from tests.benchmark.eval_sets import make_set  # noqa: E402
from tests.detectors.vlm.hf.test_detector import KINDS  # noqa: E402

from deeptrace.benchmark.calibrate import calibrate_run, fit_temperature  # noqa: E402
from deeptrace.cli.main import app  # noqa: E402
from deeptrace.detectors.vlm.calibration import CALIBRATION_FILE, Calibration  # noqa: E402
from deeptrace.errors import DataError, ModelError, SettingsError  # noqa: E402
from deeptrace.schema import Verdict  # noqa: E402

EXAMPLE = Path(__file__).resolve().parents[4] / "examples" / "coffee.mp4"
ASKED = [
    *("--set", "form=fine-tuning", "--set", "constrained=true", "--set", "max_new_tokens=56"),
    *("--set", 'without=["box", "explanation"]', "--set", "max_frame_pixels=4900", "--set", "batch_size=4"),
]


def call(*args: object):
    return CliRunner().invoke(app, [*map(str, args)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("set"), each=2)


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_detects_on_real_clips(
    kind: str, checkpoints: dict[str, Path], clips: list[Path], tmp_path: Path
) -> None:
    name = f"hf:{checkpoints[kind]}"
    result = call("detect", EXAMPLE, *clips[:2], "--detector", name, "--json", *ASKED, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    verdicts = [Verdict.model_validate_json(line) for line in result.stdout.splitlines()]
    assert [verdict.video for verdict in verdicts] == [str(path) for path in (EXAMPLE, *clips[:2])]
    for verdict in verdicts:
        assert verdict.detector.name == name
        assert verdict.detector.settings["weights"]
        assert 0 < verdict.p_fake < 1


@pytest.mark.parametrize("kind", ["llava", "qwen3_vl"])  # one that is shown pictures, one that is shown a video
def test_it_is_measured(kind: str, checkpoints: dict[str, Path], data: Path, tmp_path: Path) -> None:
    measured = call(
        *("eval", "--data", data, "--detector", f"hf:{checkpoints[kind]}", *ASKED, "--bootstrap", 0, "--json"),
        *("--out", tmp_path / "eval", "--no-report"),
    )
    assert measured.exit_code == 0, measured.output
    found = json.loads(measured.stdout)
    assert found["outcomes"]["scored"] == 4
    assert found["per_video"]["auroc"] is not None
    assert found["usage"]["videos"] == 4
    assert found["manifest"]["detector"]["settings"]["form"] == "fine-tuning"


def test_a_run_goes_on_where_it_stopped_and_not_with_other_weights(
    checkpoints: dict[str, Path], clips: list[Path], tmp_path: Path
) -> None:
    args = ("--detector", f"hf:{checkpoints['qwen2_5_vl']}", *ASKED, "--out", tmp_path / "run", "--resume")
    assert call("detect", *clips[:2], *args).exit_code == 0
    again = call("detect", *clips, *args)
    assert again.exit_code == 0
    assert "2 of 5 were analysed before" in again.output
    other = call("detect", *clips, *args[2:], "--detector", f"hf:{checkpoints['qwen3_vl']}")
    assert "judged before" not in other.output


def test_a_dry_run_loads_nothing_and_says_what_it_will_take(
    checkpoints: dict[str, Path], clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "config-alone"
    folder.mkdir()
    for name in ("config.json", "video_preprocessor_config.json"):
        (folder / name).write_text((checkpoints["qwen2_5_vl"] / name).read_text())
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    args = ("--detector", f"hf:{folder}", "--dry-run", "--set", "max_frame_pixels=4900")
    table = call("detect", *clips, *args)
    assert table.exit_code == 0, table.output
    assert "5 of 5 clips" in table.stdout
    assert "GiB" in table.stdout
    lines = call("detect", clips[0], tmp_path / "broken.mp4", *args, "--json")
    assert lines.exit_code == 1
    first, second = (json.loads(line) for line in lines.stdout.splitlines())
    assert first["estimate"]["seconds"] > 0
    assert first["estimate"]["visual_tokens"] == first["estimate"]["frames"] // 2 * (84 // 28) * (56 // 28)
    assert second["estimate"] is None


def test_a_known_model_is_planned_for_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sizes are checked against the number of parameters that the makers state."""
    from deeptrace.detectors.vlm.hf import hub, planner
    from deeptrace.detectors.vlm.paper_models import paper_model

    def unreachable(*_: object, **__: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(hub, "get_hf_file_metadata", unreachable)
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    stated = {
        "Qwen/Qwen2-VL-2B-Instruct": 2.21,
        "Qwen/Qwen2.5-VL-3B-Instruct": 3.75,
        "DAMO-NLP-SG/VideoLLaMA3-2B": 1.96,
    }
    for name in planner.KNOWN:
        planned = planner.load_planner(name)
        known = paper_model(name)
        parameters = stated[name] if known is None or name in stated else known.parameters_b
        assert (planned._shape.vision + planned._shape.language) / 1e9 == pytest.approx(parameters, rel=0.01), name
        assert planned.info.name == f"hf:{name}"
    said = call("detect", EXAMPLE, "--detector", "hf:Qwen/Qwen2.5-VL-7B-Instruct", "--dry-run", "--json")
    assert said.exit_code == 0, said.output
    line = json.loads(said.stdout)
    assert line["detector"] == "hf:Qwen/Qwen2.5-VL-7B-Instruct"
    assert line["estimate"]["memory_gib"] > 8.29e9 * 2 / 2**30
    with pytest.raises(ModelError):
        planner.load_planner(str(tmp_path / "none"))


# -- calibration ------------------------------------------------------------------------------------------------------


def test_temperature_is_found_again() -> None:
    import numpy as np

    dice = np.random.default_rng(4)
    true = dice.normal(0, 2, 20_000)
    fake = dice.random(len(true)) < 1 / (1 + np.exp(-true))
    for sharpened in (0.5, 1.0, 3.0):
        temperature, after = fit_temperature(true * sharpened, fake)
        assert temperature == pytest.approx(sharpened, rel=0.05)
        assert after <= np.logaddexp(0.0, -np.where(fake, true, -true) * sharpened).mean() + 1e-9
    with pytest.raises(ValueError, match="both kinds"):
        fit_temperature([1.0, 2.0], [True, True])


def test_a_temperature_fitted_on_a_run_is_read_back_with_the_model(
    checkpoints: dict[str, Path], clips: list[Path], tmp_path: Path
) -> None:
    data = make_set(tmp_path / "set", each=10)
    folder = tmp_path / "model"
    folder.mkdir()
    for path in checkpoints["qwen2_5_vl"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    run = tmp_path / "run"
    args = ("--detector", f"hf:{folder}", *ASKED, "--bootstrap", 0, "--no-report")
    before = call("detect", clips[0], "--detector", f"hf:{folder}", *ASKED, "--json")
    assert call("eval", "--data", data, *args, "--out", run).exit_code == 0
    done = call("calibrate", run, "--to", folder)
    assert done.exit_code == 0, done.output
    assert "fitted on 20 videos of" in done.stdout
    kept = Calibration.model_validate_json((folder / CALIBRATION_FILE).read_text())
    assert kept.nll_after <= kept.nll_before + 1e-9
    assert kept.form == "fine-tuning"
    after = call("detect", clips[0], "--detector", f"hf:{folder}", *ASKED, "--json")
    first, second = (Verdict.model_validate_json(result.stdout.splitlines()[0]) for result in (before, after))
    assert second.p_fake == pytest.approx(kept.apply(first.p_fake), abs=1e-6)
    assert second.label is first.label
    assert second.detector.settings["calibration"]["temperature"] == kept.temperature
    assert call("eval", "--data", data, *args, "--out", tmp_path / "again").exit_code == 0
    assert calibrate_run(tmp_path / "again").temperature == pytest.approx(kept.temperature, rel=1e-3)
    other = call("detect", clips[0], "--detector", f"hf:{folder}", *ASKED, "--set", "form=json", "--json")
    assert "calibrated with another question" in other.stdout
    kept = kept.model_copy(update={"thresholds": {"balanced": second.p_fake + 1e-3}})
    (folder / CALIBRATION_FILE).write_text(kept.text())
    for threshold, label in (("balanced", "REAL"), (second.p_fake - 1e-3, "FAKE")):
        asked = (*ASKED, "--set", f"threshold={threshold}", "--json")
        limited = Verdict.model_validate_json(call("detect", clips[0], "--detector", f"hf:{folder}", *asked).stdout)
        assert (limited.label, limited.p_fake) == (label, pytest.approx(second.p_fake))
        limit = kept.thresholds["balanced"] if threshold == "balanced" else threshold
        assert limited.detector.settings["threshold"] == pytest.approx(limit)
        assert limited.detector.settings["threshold_name"] == ("balanced" if threshold == "balanced" else None)
    plain = call("detect", clips[0], "--detector", f"hf:{folder}", *ASKED, "--set", "calibration=none", "--json")
    assert Verdict.model_validate_json(plain.stdout).p_fake == pytest.approx(first.p_fake)


def test_what_cannot_be_calibrated_is_said(checkpoints: dict[str, Path], data: Path, tmp_path: Path) -> None:
    args = ("--detector", f"hf:{checkpoints['qwen2_vl']}", *ASKED, "--bootstrap", 0, "--no-report")
    assert call("eval", "--data", data, *args, "--out", tmp_path / "few").exit_code == 0
    with pytest.raises(DataError, match="4 videos with a probability"):
        calibrate_run(tmp_path / "few")
    with pytest.raises(DataError, match="no evaluation"):
        calibrate_run(tmp_path)
    refused = call("detect", EXAMPLE, *args[:2], "--set", "calibration=nowhere.json")
    assert isinstance(refused.exception, SettingsError)
    assert "deeptrace calibrate" in str(refused.exception)


# -- what is no model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        (("quantization=4",), SettingsError, "[qlora]"),
        (("device=cuda:0",), SettingsError, "Use device=cpu"),
        (("adapter=/no/where/at/all",), ModelError, "adapter /no/where/at/all"),
        (("fsp=2",), SettingsError, "fsp"),
        (("dtype=int8",), SettingsError, "dtype"),
        (("space=inches",), SettingsError, "inches"),
        (("base=x",), SettingsError, "adapters only"),
        (("threshold=fpr_1",), SettingsError, "no thresholds are kept"),
        (("threshold=0.5", "verify=true"), SettingsError, "cannot be combined with verify"),
    ],
)
def test_settings_that_make_no_sense_are_one_clear_line(
    checkpoints: dict[str, Path], settings: tuple[str, ...], kind: type[Exception], words: str
) -> None:
    if "quantization" in settings[0]:
        import importlib.util

        if importlib.util.find_spec("bitsandbytes"):
            pytest.skip("bitsandbytes is installed")
    if "cuda" in settings[0] and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    args = [part for setting in settings for part in ("--set", setting)]
    result = call("detect", EXAMPLE, "--detector", f"hf:{checkpoints['qwen2_vl']}", *args)
    assert isinstance(result.exception, kind), result.output
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_folder_that_holds_no_model_is_said(tmp_path: Path) -> None:
    for name, words in (("hf:", "names no model"), (f"hf:{tmp_path}", "neither config.json nor adapter_config.json")):
        result = call("detect", EXAMPLE, "--detector", name)
        assert isinstance(result.exception, (SettingsError, ModelError))
        assert words in str(result.exception)
