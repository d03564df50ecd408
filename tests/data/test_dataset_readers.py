"""Public datasets' files, written here in their own shape, become samples that survive a round trip through rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from deeptrace.cli.main import app
from deeptrace.data import read_reward_data, write_reward_data
from deeptrace.data.importers import DATASETS, Imported
from deeptrace.data.importers.artifacts import ARTIFACT_BENCH_KINDS, VIF_KINDS
from deeptrace.errors import DataError
from deeptrace.geometry import Box
from deeptrace.schema import Category, Label, Media
from deeptrace.video import write_video

MEDIA = Media(width=200, height=100, duration_s=4.0, fps=25.0, frames=100)
DOCS = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def asked(_: str) -> Media:
    return MEDIA


def kept(found: Imported, folder: Path) -> Imported:
    """The same, after it was written as rows and read again: nothing of it may be lost."""
    write_reward_data(found.samples, folder / "rows.json")
    for ours, again in zip(found.samples, read_reward_data(folder / "rows.json"), strict=True):
        assert (again.video_id, again.label, again.source, again.prompt) == (
            ours.video_id, ours.label, ours.source, ours.prompt,
        )  # fmt: skip
        assert again.traces == ours.traces
        assert all(again.extra["rows"][0][name] == value for name, value in ours.extra.items())
    return found


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


# -- Artifact-Bench ---------------------------------------------------------------------------------------------------

MORPHING = "Unnatural Morphing: Physically implausible deformations where rigid bodies warp like a fluid."
CLIPPING = "Spatial Clipping: Two distinct objects interpenetrate each other's geometry."
FACE = "Abnormal Facial Expression: Facial movements appear robotic or distorted."


def task3(**changed: Any) -> dict[str, Any]:
    row = {
        "task_type": 3,
        "sample_id": 1,
        "video_path": ["Task_3/videos/FAIL_000001_youtube_8f0217c5.mp4"],
        "option": [MORPHING, CLIPPING, FACE],
        "answer_idx": [0, 2],
        "answer_letter": ["A", "C"],
        "option_dic": [{"label": MORPHING, "is_correct": True}],
        "answer": "A,C",
        "level": "medium",
    }
    return row | changed


def test_artifact_bench_names_what_was_seen(tmp_path: Path) -> None:
    found = kept(DATASETS["artifact-bench"](str(lines(tmp_path / "task3_meta.jsonl", task3()))), tmp_path)
    (sample,) = found.samples
    assert sample.label is Label.FAKE
    assert [(t.categories, t.explanation) for t in sample.traces] == [
        ((Category.OBJECT_DISTORTION,), "Unnatural Morphing"),
        ((), "Abnormal Facial Expression"),
    ]
    assert sample.extra["artifact_bench"]["level"] == "medium"
    assert len(found.warnings) == 1
    assert "'Abnormal Facial Expression' is none of the nine kinds" in found.warnings[0]


def test_artifact_bench_labels_and_pairs(tmp_path: Path) -> None:
    first = lines(
        tmp_path / "task1_meta.jsonl",
        {
            "task_type": 1,
            "sample_id": 1,
            "video_path": ["Task_1/videos/fake_001.mp4"],
            "answer": "yes",
            "level": "easy",
        },
        {"task_type": 1, "sample_id": 2, "video_path": ["Task_1/videos/real_001.mp4"], "answer": "no", "level": "hard"},
    )
    found = kept(DATASETS["artifact-bench"](str(first)), tmp_path)
    assert [sample.label for sample in found.samples] == [Label.FAKE, Label.REAL]
    assert "animation and games" in found.warnings[0]
    pair = ["Task_2/videos/fake_001.mp4", "Task_2/videos/real_001.mp4"]
    second = lines(
        tmp_path / "task2_meta.jsonl",
        {"task_type": 2, "sample_id": 1, "video_path": pair, "answer": "<Video B>", "level": "easy"},
    )
    both = kept(DATASETS["artifact-bench"](str(second)), tmp_path).samples
    assert [sample.label for sample in both] == [None, None]
    assert [sample.extra["artifact_bench"]["more_realistic"] for sample in both] == [False, True]
    assert both[0].extra["artifact_bench"]["other"] == both[1].path


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"answer": "A,D"}, "'A,D' names no option of 3"),
        ({"answer": ""}, "names no option"),
        ({"video_path": []}, "expected task_type 1, 2 or 3 and the paths of its clips but got 3, []"),
        ({"task_type": 4}, "but got 4"),
        ({"option": "A"}, "option: expected a list of texts"),
    ],
)
def test_a_row_of_artifact_bench_that_makes_no_sense_is_set_aside(
    tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    found = DATASETS["artifact-bench"](str(lines(tmp_path / "task3_meta.jsonl", task3(**changed), task3())))
    assert len(found.samples) == 1
    (error,) = found.refused
    assert "task3_meta.jsonl, row 1" in str(error)
    assert says in str(error)
    with pytest.raises(DataError, match="row 1"):
        DATASETS["artifact-bench"](str(lines(tmp_path / "alone.jsonl", task3(**changed))))


@pytest.mark.parametrize("table", [ARTIFACT_BENCH_KINDS, VIF_KINDS], ids=["artifact-bench", "vif"])
def test_the_page_has_the_table_of_kinds(table: dict[str, tuple[Category, ...]]) -> None:
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", DOCS, re.MULTILINE))
    for category in Category:
        theirs = [name for name, ours in table.items() if category in ours]
        assert not [name for name in theirs if name not in rows[f"`{category.value}`"].split(", ")]
    none = [name for name, ours in table.items() if not ours]
    assert not [name for name in none if name not in rows["none of the nine"].split(", ")]


# -- ViF --------------------------------------------------------------------------------------------------------------

THOUGHTS = (
    "<think>A person holds a glass jar. The lid shows <type>Shape Distortion</type> in <t>[0.40, 1.20]</t> at "
    "<bbox>[0.10, 0.20, 0.50, 0.60]</bbox>, where it melts into the hand. "
    "There is also <type>Camera Motion Inconsistency</type> in <t>[2.0, 2.52]</t> at <bbox>[0.0, 0.0, 0.0, 0.0]</bbox>."
    "</think>\n<answer>Fake</answer>"
)


def conversation(answer: str = THOUGHTS, clip: str = "frames/Fake/kling-v1/gdymHI9S6gM-0") -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "You are an expert AI video analyst."},
            {"role": "user", "content": "[T=0.00s] <image>"},
            {"role": "assistant", "content": answer},
        ],
        "images": [f"{clip}/1.png", f"{clip}/2.png"],
    }


@pytest.mark.parametrize("older", [False, True], ids=["messages", "conversations"])
def test_vif_marks_places_and_times(tmp_path: Path, older: bool) -> None:
    row = conversation()
    if older:
        said = [{"from": turn["role"], "value": turn["content"]} for turn in row.pop("messages")]
        row["conversations"] = said
    (tmp_path / "vif.json").write_text(json.dumps([row]))
    found = kept(DATASETS["vif"](str(tmp_path / "vif.json"), media=asked), tmp_path)
    (sample,) = found.samples
    assert (sample.path, sample.label) == ("videos/kling-v1/gdymHI9S6gM-0.mp4", Label.FAKE)
    lid, camera = sample.traces
    assert (lid.onset_s, lid.offset_s, lid.categories) == (0.4, 1.2, (Category.OBJECT_DISTORTION,))
    assert lid.box == Box(x0=0.1, y0=0.2, x1=0.5, y1=0.6)
    assert lid.explanation == "The lid shows Shape Distortion, where it melts into the hand"
    assert (camera.box, camera.categories, camera.offset_s) == (None, (), 2.52)


def test_vif_index_and_results_give_labels_alone(tmp_path: Path) -> None:
    index = {"Real": ["frames/Real/gdymHI9S6gM-0"], "LTX-Video-13B-T": ["frames/Fake/LTX-Video-13B-T/gdymHI9S6gM-0"]}
    (tmp_path / "test_index.json").write_text(json.dumps(index))
    found = kept(DATASETS["vif"](str(tmp_path / "test_index.json")), tmp_path)
    assert [(s.label, s.source) for s in found.samples] == [(Label.REAL, None), (Label.FAKE, "LTX-Video-13B-T")]
    result = {
        "video_id": "kling-v1/XYZ-123",
        "aigc_model_name": "kling-v1",
        "mllm_model_name": "Skyra-SFT",
        "gt": "Fake",
    }
    (tmp_path / "Skyra-SFT.json").write_text(json.dumps([result | {"response": THOUGHTS, "answer": "Real"}]))
    found = DATASETS["vif"](str(tmp_path / "Skyra-SFT.json"))
    assert [(s.video_id, s.label, s.traces) for s in found.samples] == [("XYZ-123", Label.FAKE, ())]
    assert "a model's answer" in found.warnings[0]


def test_vif_says_what_it_cannot_read(tmp_path: Path) -> None:
    rows = [
        conversation(THOUGHTS.replace("[0.40, 1.20]", "[1.20, 0.40]").replace("0.10, 0.20", "10, 20")),
        conversation("I do not know.", clip="frames/Fake/kling-v1/b"),
        conversation(clip="") | {"images": []},
    ]
    (tmp_path / "vif.json").write_text(json.dumps(rows))
    found = DATASETS["vif"](str(tmp_path / "vif.json"), media=asked)
    assert len(found.samples) == 1
    assert len(found.samples[0].traces) == 1
    assert [error.subject.partition("/")[2] for error in found.refused] == [
        "vif.json, row 2",
        "vif.json, row 3, images",
    ]
    assert any("no time from and to" in line for line in found.warnings)
    with pytest.raises(DataError, match="Name the videos' folder"):
        DATASETS["vif"](str(lines(tmp_path / "one.jsonl", conversation())))


# -- Physion-Eval -----------------------------------------------------------------------------------------------------


def test_physion_eval_keeps_an_expert_s_words(tmp_path: Path) -> None:
    glitch = {
        "id": "00017", "filename": "sora2_00017", "has_glitches": 1, "glitch_severity": 4, "model": "Sora 2",
        "reasoning": "At 0:03 the knife appears on the table.", "Glitch_Category": "Permanence", "caption": "Cook",
    }  # fmt: skip
    fine = {
        "id": "00018",
        "filename": "wan_00018",
        "has_glitches": 0,
        "reasoning": "",
        "glitch_severity": 0,
        "model": "Wan 2.2",
    }
    (tmp_path / "Physion_Eval_20260322.json").write_text(json.dumps([glitch, fine, glitch | {"has_glitches": "yes"}]))
    found = kept(DATASETS["physion-eval"](str(tmp_path / "Physion_Eval_20260322.json")), tmp_path)
    knife, clean = found.samples
    assert (knife.path, knife.source, knife.prompt) == ("videos/sora2_00017.mp4", "Sora 2", "Cook")
    assert [trace.explanation for trace in knife.traces] == ["At 0:03 the knife appears on the table."]
    assert knife.extra["physion_eval"] == {"severity": 4, "category": "Permanence", "id": "00017"}
    assert (clean.label, clean.traces) == (Label.FAKE, ())
    assert "row 3, has_glitches: expected 0 or 1 but got 'yes'" in str(found.refused[0])


# -- masks ------------------------------------------------------------------------------------------------------------


def pictures(folder: Path, masks: list[np.ndarray], *, palette: bool = False) -> None:
    folder.mkdir(parents=True)
    for number, mask in enumerate(masks):
        image = Image.fromarray(mask, mode="P" if palette else "L")
        if palette:
            image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        image.save(folder / f"{number:05d}.png")


def moving(value: int = 255) -> list[np.ndarray]:
    """A square of 20 pixels that goes 4 to the right a frame, for 10 frames, and is there from frame 2 to 7."""
    masks = [np.zeros((100, 200), np.uint8) for _ in range(10)]
    for number in range(2, 8):
        masks[number][40:60, 10 + 4 * number : 30 + 4 * number] = value
    return masks


@pytest.mark.parametrize("palette", [False, True], ids=["black and white", "palette"])
def test_masks_become_boxes_over_time(tmp_path: Path, palette: bool) -> None:
    masks = moving(1 if palette else 255)
    for mask in masks[:4]:
        mask[80:90, 100:120] = 2 if palette else 255
    pictures(tmp_path / "masks" / "Cog5B_00000", masks, palette=palette)
    found = kept(DATASETS["masks"](str(tmp_path / "masks"), media=asked, source="CogVideoX"), tmp_path)
    (sample,) = found.samples
    still, square = sample.traces
    assert (sample.path, sample.label) == ("videos/Cog5B_00000.mp4", Label.FAKE)
    assert (still.onset_s, still.offset_s, still.keyframes) == (0.0, 4 / 25, ())
    assert still.box == Box(x0=0.5, y0=0.8, x1=0.6, y1=0.9)
    assert (square.onset_s, square.offset_s) == (2 / 25, 8 / 25)
    assert [key.box.as_tuple() for key in square.keyframes] == [(0.09, 0.4, 0.19, 0.6), (0.19, 0.4, 0.29, 0.6)]
    assert "only its box is kept" in found.warnings[0]


def test_a_folder_without_masks_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither folders of \.png nor mask videos"):
        DATASETS["masks"](str(tmp_path))
    pictures(tmp_path / "a", moving())
    with pytest.raises(DataError, match=r", a: is pictures, which state no frame rate\. Name the folder of the videos"):
        DATASETS["masks"](str(tmp_path))
    (tmp_path / "a" / "00003.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r", a, 00003\.png: is no picture"):
        DATASETS["masks"](str(tmp_path), media=asked)


# -- FaceForensics++ --------------------------------------------------------------------------------------------------


def faces(folder: Path) -> Path:
    grey = [np.full((96, 128, 3), 40 * number % 255, np.uint8) for number in range(8)]
    white = [np.zeros((96, 128, 3), np.uint8) for _ in range(8)]
    for mask in white:
        mask[32:64, 32:96] = 255
    for place, frames in (
        ("original_sequences/youtube/c23/videos/033.mp4", grey),
        ("manipulated_sequences/Deepfakes/c23/videos/033_097.mp4", grey),
        ("manipulated_sequences/Deepfakes/masks/videos/033_097.mp4", white),
        ("manipulated_sequences/DeepFakeDetection/c40/videos/01_02__exit_phone_room__YVGY8LOK.mp4", grey),
    ):
        (folder / place).parent.mkdir(parents=True)
        write_video(folder / place, frames, fps=25)
    (folder / "splits").mkdir()
    (folder / "splits" / "test.json").write_text(json.dumps([["097", "033"]]))
    return folder


def test_faceforensics_reads_the_folders_as_labels(tmp_path: Path) -> None:
    found = kept(DATASETS["faceforensics"](str(faces(tmp_path / "ff"))), tmp_path)
    by_id = {sample.video_id: sample for sample in found.samples}
    assert len(by_id) == 3
    real = by_id["original_sequences/youtube/c23/videos/033"]
    assert (real.label, real.source, real.split, real.traces) == (Label.REAL, "youtube", "test", ())
    swapped = by_id["manipulated_sequences/Deepfakes/c23/videos/033_097"]
    assert (swapped.label, swapped.source, swapped.split) == (Label.FAKE, "Deepfakes", "test")
    assert swapped.extra["faceforensics"] == {"compression": "c23", "target": "033", "identity": "097"}
    (trace,) = swapped.traces
    assert trace.box is not None
    assert np.allclose(trace.box.as_tuple(), (0.25, 1 / 3, 0.75, 2 / 3), atol=0.02)  # the mask video is lossy
    assert (trace.onset_s, trace.offset_s) == (0.0, 8 / 25)
    acted = by_id["manipulated_sequences/DeepFakeDetection/c40/videos/01_02__exit_phone_room__YVGY8LOK"]
    assert (acted.split, acted.extra["faceforensics"]["identity"]) == (None, "02")


def test_faceforensics_goes_on_past_a_broken_clip(tmp_path: Path) -> None:
    folder = faces(tmp_path / "ff")
    (folder / "original_sequences" / "youtube" / "c23" / "videos" / "033.mp4").write_bytes(b"cut off")
    found = DATASETS["faceforensics"](str(folder))
    assert len(found.samples) == 2
    assert "033.mp4" in str(found.refused[0])
    with pytest.raises(DataError, match="has no original_sequences"):
        DATASETS["faceforensics"](str(tmp_path / "elsewhere"))
    (folder / "splits" / "test.json").write_text('{"test": 1}')
    with pytest.raises(DataError, match=r"splits/test\.json: expected a list of pairs"):
        DATASETS["faceforensics"](str(folder))


# -- ForgeryNet -------------------------------------------------------------------------------------------------------


def test_forgerynet_has_segments_and_classes(tmp_path: Path) -> None:
    path = tmp_path / "video_list.txt"
    path.write_text("3 19/a.mp4 0 25 real 25 50 fake 75 25 real 1 2 9\n1 5/b.mp4 0 100 real 0 0 0\n")
    found = kept(DATASETS["forgerynet"](str(path), media=asked), tmp_path)
    forged, real = found.samples
    assert [(t.onset_s, t.offset_s, t.box) for t in forged.traces] == [(1.0, 3.0, None)]
    assert (forged.path, forged.source) == ("videos/19/a.mp4", "forgerynet class 9")
    assert forged.extra["forgerynet"] == {"binary": 1, "triple": 2, "class": 9}
    assert (real.label, real.source, real.traces) == (Label.REAL, "forgerynet real", ())
    pictured = tmp_path / "image_list.txt"
    pictured.write_text("train/c.jpg 1 1 5\n")
    (image,) = kept(DATASETS["forgerynet"](str(pictured)), tmp_path).samples
    assert (image.path, image.label, image.media) == ("videos/train/c.jpg", Label.FAKE, None)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2 a.mp4 0 25 fake 1 2 9", "expected NAME and three classes"),
        ("1 a.mp4 0 25 forged 1 2 9", "expected START COUNT fake|real but got 0 25 forged"),
        ("1 a.mp4 0 25 real 1 2 9", "contradict each other or the segments"),
        ("1 a.mp4 0 25 fake 1 0 9", "contradict each other"),
        ("2 a.mp4 0 25 fake 20 9 real 1 2 9", "overlap or are out of order"),
        ("a.jpg ² ² ²", "expected NAME and three classes"),
        (f"a.jpg 1 1 {'1' * 5000}", "expected NAME and three classes"),
        ("1 5/b.mp4 0 100 fake 1 2 9", "calls 'videos/5/b.mp4' FAKE, and "),
    ],
)
def test_a_line_of_forgerynet_that_makes_no_sense(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"1 5/b.mp4 0 100 real 0 0 0\n{line}\n")
    (error,) = DATASETS["forgerynet"](str(path), media=asked).refused
    assert "list.txt, row 2" in str(error)
    assert says in str(error)


# -- GenVideo, UCA, prompts -------------------------------------------------------------------------------------------


def test_genvideo_names_folders_of_frames(tmp_path: Path) -> None:
    path = tmp_path / "SD.csv"
    path.write_text(
        "content_path,image_path,activity_id,label,frame_len,frame_seq\n"
        '/home/AIGC_Video_Det/SD/SD_frames/clip_7,/home/x/1.jpg,AIGC视频,1,8,"[0, 1]"\n'
        '/home/AIGC_Video_Det/SD/SD_frames/clip_8,/home/x/1.jpg,真实视频,?,8,"[0, 1]"\n',
        encoding="utf-8",
    )
    found = kept(DATASETS["genvideo"](str(path)), tmp_path)
    assert [(s.path, s.label, s.source) for s in found.samples] == [("videos/clip_7.mp4", Label.FAKE, "SD")]
    assert "row 2, label: expected 0 or 1 but got '?'" in str(found.refused[0])


def test_uca_in_json_and_in_text_is_the_same(tmp_path: Path) -> None:
    whole = {
        "Abuse043_x264": {"duration": 129.08, "timestamps": [[3.4, 7.4], [7.3, 15.4]], "sentences": ["One.", "Two."]},
        "Arson019_x264": {"duration": 9000.0, "timestamps": [[3623.6, 3630.6]], "sentences": ["A policeman came."]},
    }
    (tmp_path / "UCFCrime_Val.json").write_text(json.dumps(whole))
    (tmp_path / "UCFCrime_Val.txt").write_text(
        "Abuse043_x264 00:03.4 00:07.4 ##One.\nAbuse043_x264 00:07.3 00:15.4 ##Two.\n"
        "Arson019_x264 01:00:23.6 01:00:30.6 ##A policeman came.\n"
    )
    stated = kept(DATASETS["uca"](str(tmp_path / "UCFCrime_Val.json")), tmp_path).samples
    typed = kept(DATASETS["uca"](str(tmp_path / "UCFCrime_Val.txt")), tmp_path).samples
    assert (
        [s.path for s in stated] == ["videos/Abuse043_x264.mp4", "videos/Arson019_x264.mp4"] == [s.path for s in typed]
    )
    assert stated[0].extra["duration_s"] == 129.08
    for ours, theirs in zip(stated, typed, strict=True):
        assert ours.label is Label.REAL
        assert not ours.traces
        for one, other in zip(ours.extra["events"], theirs.extra["events"], strict=True):
            assert one["sentence"] == other["sentence"]
            assert one["onset_s"] == pytest.approx(other["onset_s"])
            assert one["offset_s"] == pytest.approx(other["offset_s"])


def test_uca_that_makes_no_sense(tmp_path: Path) -> None:
    odd = {
        "a": {"timestamps": [[3.0, 1.0], [1.0, 2.0]], "sentences": ["x", "y"]},
        "b": {"timestamps": [], "sentences": ["x"]},
    }
    (tmp_path / "odd.json").write_text(json.dumps(odd))
    found = DATASETS["uca"](str(tmp_path / "odd.json"))
    assert [event["sentence"] for event in found.samples[0].extra["events"]] == ["y"]
    assert "odd.json, b: expected as many timestamps as sentences" in str(found.refused[0])
    huge = "1" + "0" * 400
    (tmp_path / "nan.json").write_text(
        f'{{"a": {{"duration": NaN, "timestamps": [[0, Infinity], [1, {huge}], [1, 2]], '
        '"sentences": ["x", "y", "z"]}}'
    )
    (sample,) = kept(DATASETS["uca"](str(tmp_path / "nan.json")), tmp_path).samples
    assert sample.extra["events"] == [{"onset_s": 1.0, "offset_s": 2.0, "sentence": "z"}]
    (tmp_path / "deep.json").write_text('{"a":' + "[" * 100_000)
    with pytest.raises(DataError, match=r"deep\.json: cannot be read as JSON"):
        DATASETS["uca"](str(tmp_path / "deep.json"))
    (tmp_path / "one.txt").write_text("nonsense\nAbuse043_x264 00:03.4 00:04.4 ##One.\n")
    found = DATASETS["uca"](str(tmp_path / "one.txt"))
    assert (len(found.samples), len(found.refused)) == (1, 1)
    (tmp_path / "odd.txt").write_text("Abuse043_x264 00:03.4 ##One.\n")
    with pytest.raises(DataError, match=r"odd\.txt, row 1: expected NAME FROM TO ##SENTENCE"):
        DATASETS["uca"](str(tmp_path / "odd.txt"))


def test_prompt_lists(tmp_path: Path) -> None:
    (tmp_path / "VidProM_unique.csv").write_text(
        "uuid,prompt,time,toxicity,obscene,identity_attack,insult,threat,sexual_explicit\n"
        "6a83eb92-faa0,Flying among clouds,Sun Sep  3 12:27:44 2023,0.00129,0.00016,7e-05,0.00064,2e-05,2e-05\n"
    )
    (tmp_path / "TA_hard.csv").write_text(
        "prompt,prompt_zh\nA cat and a dog baking a cake,一只猫和一只狗\n", encoding="utf-8"
    )
    (tmp_path / "VideoUFO.csv").write_text(
        "ID,Topic,Detailed_Caption,Brief_Caption,Start_Time,End_Time\nx.1.mp4,flower,A red flower.,A flower,0:00,0:05\n"
    )
    (tmp_path / "Step-Video-T2V-Eval").write_text(
        "一名足球运动员在球场上带球奔跑\n\n篮球运动员运球过人\n", encoding="utf-8"
    )
    read: Callable[[str], Imported] = lambda name: kept(DATASETS["prompts"](str(tmp_path / name)), tmp_path)  # noqa: E731
    (flying,) = read("VidProM_unique.csv").samples
    assert (flying.video_id, flying.prompt, flying.label, flying.path) == (
        "6a83eb92-faa0",
        "Flying among clouds",
        Label.FAKE,
        "",
    )
    assert flying.extra["prompt_list"]["toxicity"] == "0.00129"
    (cake,) = read("TA_hard.csv").samples
    assert (cake.video_id, cake.label, cake.extra["prompt_list"]) == (
        "TA_hard-1",
        None,
        {"prompt_zh": "一只猫和一只狗"},
    )
    (flower,) = read("VideoUFO.csv").samples
    assert (flower.label, flower.prompt) == (Label.REAL, "A red flower.")
    assert [s.video_id for s in read("Step-Video-T2V-Eval").samples] == [
        "Step-Video-T2V-Eval-1",
        "Step-Video-T2V-Eval-2",
    ]
    (tmp_path / "other.csv").write_text("name,words\na,b\n")
    with pytest.raises(
        DataError, match=r"other\.csv, row 1: is no list of prompts: expected the columns uuid and prompt"
    ):
        read("other.csv")
    (tmp_path / "twice.csv").write_text("uuid,prompt\na,b\na,c\n")
    with pytest.raises(DataError, match="row 2, uuid: 'a' stands there twice"):
        read("twice.csv")


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_reads_a_dataset_and_fails_for_the_rows_it_set_aside(tmp_path: Path) -> None:
    path = lines(tmp_path / "task3_meta.jsonl", task3(), task3(answer="Z"))
    done = CliRunner().invoke(
        app, ["data", "import", str(path), "--from", "artifact-bench", "--out", str(tmp_path / "rows.json")]
    )
    assert done.exit_code == 1
    assert "task3_meta.jsonl, row 2, answer: 'Z' names no option of 3" in " ".join(done.output.split())
    assert "1 video, 2 traces" in " ".join(done.output.split())
    (sample,) = read_reward_data(tmp_path / "rows.json")
    assert sample.path == "Task_3/videos/FAIL_000001_youtube_8f0217c5.mp4"


def test_every_dataset_has_a_name_on_the_command_line() -> None:
    from deeptrace.cli.data import ImportFormat

    assert set(DATASETS) <= {one.value for one in ImportFormat}


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as raised:
        DATASETS[name](str(tmp_path / "nowhere.json"))
    assert "nowhere" in str(raised.value)
