from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from tests.synth.conftest import moving_disc
from tests.video.odd_streams import movie, remux
from typer.testing import CliRunner

from deeptrace.cli.synth import synth
from deeptrace.data import read_reward_data
from deeptrace.errors import SettingsError
from deeptrace.io.run_store import hold_folder
from deeptrace.schema import Category, Label
from deeptrace.synth.dataset import Made, Recipe, make_dataset, read_clip
from deeptrace.video import Frame, open_video, write_video

RECIPE = Recipe(seed=5, traces=(1, 2), severity=(0.8, 1.0))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("real")
    frames = moving_disc()[0]
    for name, pictures in (("a", frames), ("b", frames[::-1]), ("c", frames[:, :, ::-1])):
        write_video(folder / f"{name}.mp4", np.ascontiguousarray(pictures), fps=8, crf=12)
    (folder / "d.mp4").write_bytes(b"this is no video")
    return [str(folder / f"{name}.mp4") for name in "abcd"]


@pytest.fixture(scope="module")
def made(sources: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Made]]:
    out = tmp_path_factory.mktemp("made") / "set"
    return out, make_dataset(sources, out, RECIPE)


def read(path: Path) -> np.ndarray:
    with open_video(path) as video:
        return np.stack([frame.image for frame in video.frames()])


def test_rows_come_back_as_they_were_made(made: tuple[Path, list[Made]]) -> None:
    out, clips = made
    samples = read_reward_data(out)
    assert [clip.problem is None for clip in clips] == [True, True, True, False]
    assert "d.mp4" in (clips[3].problem or "")
    assert [sample.label for sample in samples] == [Label.FAKE, Label.REAL] * 3
    tubes = [json.loads(line) for line in (out / "tubes.jsonl").read_text().splitlines()]
    assert len(tubes) == sum(len(sample.traces) for sample in samples) == sum(clip.traces for clip in clips)
    for sample in samples:
        assert (out / sample.path).is_file()
        own = [tube for tube in tubes if tube["video_id"] == sample.video_id]
        for trace, tube in zip(sample.traces, own, strict=True):
            assert trace.box is not None
            assert trace.box.as_tuple() == pytest.approx(tube["box"], abs=1e-9)
            assert trace.onset_s == pytest.approx(tube["onset_s"])
            assert trace.offset_s == pytest.approx(tube["offset_s"])
            assert trace.explanation == tube["explanation"]
            assert trace.keyframes == ()
            assert len(tube["keyframes"]) >= 3
    rows = json.loads((out / "all_data.json").read_text())
    assert all(row["faketrace_first_frame"] < row["video_frame_count"] for row in rows if "fake" in row["video_type"])
    # every clip of one source lies in one split
    assert all(samples[i].split == samples[i + 1].split for i in (0, 2, 4))


def test_several_at_a_time_make_the_same(sources: list[str], made: tuple[Path, list[Made]], tmp_path: Path) -> None:
    seen: list[Made] = []
    twice = make_dataset(sources, tmp_path / "set", RECIPE, workers=2, on_clip=seen.append)
    assert twice == made[1]
    assert sorted(seen, key=lambda one: one.source) == made[1]
    for path in [*sorted(made[0].rglob("*.mp4")), made[0] / "all_data.json", made[0] / "tubes.jsonl"]:
        assert (tmp_path / "set" / path.relative_to(made[0])).read_bytes() == path.read_bytes()


def test_the_written_pixels_differ_where_the_rows_say(made: tuple[Path, list[Made]]) -> None:
    out, _ = made
    samples = {sample.video_id: sample for sample in read_reward_data(out)}
    for name in ("a_0", "b_0", "c_0"):
        fake, real = read(out / samples[name].path), read(out / samples[f"{name}_real"].path)
        gap = np.abs(fake.astype(float) - real).mean(axis=-1)
        height, width = gap.shape[1:]
        inside = np.zeros(gap.shape, bool)
        for trace in samples[name].traces:
            assert trace.box is not None
            assert trace.onset_s is not None
            assert trace.offset_s is not None
            x0, y0, x1, y1 = (round(v) for v in trace.box.to_pixels_xyxy(width=width, height=height))
            first, last = round(trace.onset_s * 8), round(trace.offset_s * 8)
            # the box holds what is seen of the trace; its hole and soft border may reach a little beyond
            inside[first:last, max(y0 - 14, 0) : y1 + 14, max(x0 - 14, 0) : x1 + 14] = True
        assert gap[inside].mean() > 3 * gap[~inside].mean()


def test_a_broken_run_goes_on_and_makes_the_same(
    sources: list[str], made: tuple[Path, list[Made]], tmp_path: Path
) -> None:
    def stop(one: Made) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        make_dataset(sources[:3], out, RECIPE, on_clip=stop)
    assert len(read_reward_data(out)) == 2
    with open(out / "journal.jsonl", "a", encoding="utf-8") as file:
        file.write('{"key": "b_0", "reco')  # the power went
    again = make_dataset(sources[:3], out, RECIPE, resume=True)
    assert [one.kept for one in again] == [True, False, False]
    for name in ("all_data.json", "tubes.jsonl", "videos/b_0.mp4", "real_videos/c_0_real.mp4"):
        assert (out / name).read_bytes() == (made[0] / name).read_bytes()
    assert not list(out.rglob("*.part*"))


def test_another_recipe_or_a_full_folder_is_refused(made: tuple[Path, list[Made]], sources: list[str]) -> None:
    with pytest.raises(SettingsError, match="holds results of an earlier run"):
        make_dataset(sources, made[0], RECIPE)
    with pytest.raises(SettingsError, match="another seed"):
        make_dataset(sources, made[0], Recipe(seed=6, traces=(1, 2), severity=(0.8, 1.0)), resume=True)
    with hold_folder(made[0]), pytest.raises(SettingsError, match="another run is writing"):
        make_dataset(sources, made[0], RECIPE, resume=True)
    with pytest.raises(SettingsError, match="severity"):
        Recipe(severity=(0.9, 0.2))


def test_uneven_times_become_even_ones(tmp_path: Path) -> None:
    pictures = [np.full((32, 48, 3), 10 * i, np.uint8) for i in range(8)]
    times = [0.0, 0.1, 0.2, 0.3, 0.7, 0.8, 0.9, 1.0]  # frame 3 stands for 0.4 s
    write_video(tmp_path / "v.mp4", [Frame(t, p) for t, p in zip(times, pictures, strict=True)], fps=10)
    frames, fps = read_clip(str(tmp_path / "v.mp4"), Recipe(max_s=5))
    levels = frames.mean(axis=(1, 2, 3))
    shown = np.searchsorted(np.array(times), np.arange(len(frames)) / fps + 1e-3, side="right") - 1
    assert levels == pytest.approx(10.0 * shown, abs=4)


def test_a_colour_matrix_that_no_scaler_knows_does_not_end_it(tmp_path: Path) -> None:
    plain = movie(tmp_path / "plain.mp4", 12)
    for number in (8, 10, 14):
        path = remux(plain, tmp_path / f"{number}.mp4", bsf=f"h264_metadata=matrix_coefficients={number}")
        frames, fps = read_clip(str(path), Recipe())
        assert (len(frames), fps) == (12, 10.0)


def test_the_command_says_what_it_did(sources: list[str], tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(synth)
    run = CliRunner().invoke(
        app,
        [*sources[:1], sources[3], "--out", str(tmp_path / "o"), "--traces", "1", "--categories", "object_distortion"],
    )
    assert run.exit_code == 1  # one source was no video
    assert "1 clip with 1 trace\n" in run.output
    assert "d.mp4" in run.output
    samples = read_reward_data(tmp_path / "o")
    assert samples[0].traces[0].categories == (Category.OBJECT_DISTORTION,)
    for option, value in (
        ("--severity", "much"),
        ("--traces", "1.5..2"),
        ("--traces", "inf"),
        ("--max-seconds", "inf"),
    ):
        wrong = CliRunner().invoke(app, [sources[0], "--out", str(tmp_path / "p"), option, value])
        assert wrong.exit_code == 2
        assert not isinstance(wrong.exception, (ValueError, OverflowError))
    inside = CliRunner().invoke(app, [str(Path(sources[0]).parent), "--out", str(Path(sources[0]).parent / "made")])
    assert isinstance(inside.exception, SettingsError)
    assert "would be taken for footage" in str(inside.exception)


def test_a_run_without_one_good_clip_leaves_room_for_the_corrected_command(sources: list[str], tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(synth)
    grey = tmp_path / "grey.mp4"
    write_video(grey, np.full((16, 64, 64, 3), 128, np.uint8), fps=8)
    out = ["--out", str(tmp_path / "o"), "--traces", "1", "--categories", "object_distortion"]
    none = CliRunner().invoke(app, [str(grey), sources[3], *out])
    assert none.exit_code == 1
    assert "grey.mp4: " in " ".join(none.output.split())
    assert "annotations" not in none.output
    assert not (tmp_path / "o" / "all_data.json").exists()
    run = CliRunner().invoke(app, [sources[0], *out])
    assert run.exit_code == 0, run.output
    assert len(read_reward_data(tmp_path / "o")) == 2
