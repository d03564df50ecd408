"""Benchmarks that mark what is wrong in generated clips: Artifact-Bench, Skyra's ViF, Physion-Eval.

Their kinds are brought to our nine by the tables below; a kind that is none of the nine (light, camera, causality)
makes a trace without a category, whose explanation names it, and is reported. A file says nothing of size and rate:
name the folder of the videos where traces have times or boxes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from deeptrace.data.frames import Notes
from deeptrace.data.importers.shared import (
    Annotated,
    DatasetRoot,
    Rows,
    dataset_reader,
    text_of,
)
from deeptrace.errors import DataError
from deeptrace.geometry import Box
from deeptrace.io.atomic import short_name
from deeptrace.io.jsonl import iter_objects
from deeptrace.schema import Category, Label, Media, Trace

__all__ = [
    "ARTIFACT_BENCH_KINDS",
    "VIF_KINDS",
    "read_artifact_bench",
    "read_physion_eval",
    "read_vif",
]

_SHAPE = (Category.OBJECT_DISTORTION,)
_PATH = (Category.OBJECT_TRAJECTORY,)
_MERGE = (Category.OBJECT_MERGING,)
_NONE: tuple[Category, ...] = ()

ARTIFACT_BENCH_KINDS: Mapping[str, tuple[Category, ...]] = {
    "Biological Anatomy Violation": _SHAPE,
    "Unnatural Morphing": _SHAPE,
    "Non-Biological Structural Loss": _SHAPE,
    "Feature Instability": _SHAPE,
    "Text and Symbol Unreadable": _SHAPE,
    "Inconsistent Blur": (Category.SUDDEN_BLURRING,),
    "Flickering and Noise": (Category.BACKGROUND_DISTORTION,),
    "Depth and Perspective Distortion": (Category.BACKGROUND_DISTORTION,),
    "Spatial Clipping": _MERGE,
    "Abnormal Multi-Object Merging/Splitting": (Category.OBJECT_MERGING, Category.OBJECT_SPLITTING),
    "Abnormal Object Disappearance/Appearance": (Category.OBJECT_DISAPPEARANCE, Category.REDUNDANT_OBJECT),
    "Dynamic and Kinematic Inconsistency": _PATH,
    "Unnatural Biological Motion": _PATH,
    "Consequence Without Valid Action": (Category.UNEXPECTED_MOVE,),
    "Abnormal Facial Expression": _NONE,
    "Action Without Consequence": _NONE,
    "Action-Context Mismatch": _NONE,
    "Canonical Appearance Violation": _NONE,
    "Color and Exposure Anomaly": _NONE,
    "Identical Multi-Subject Motion": _NONE,
    "Irreversibility Violation": _NONE,
    "Lighting and Shadow Inconsistency": _NONE,
    "Occlusion Failure": _NONE,
    "Oversmoothing": _NONE,
    "Reflection Inconsistency": _NONE,
    "Refraction Distortion": _NONE,
    "Spatial Coherence": _NONE,
    "Texture Inconsistency": _NONE,
    "Unnatural Camera Motion": _NONE,
}
"""The kinds that `task3_meta.jsonl` names, to ours. Of the thirty that the paper speaks of, these 29 were met in the
file; another one would be reported by name. Two of ours where one of theirs means either."""

VIF_KINDS: Mapping[str, tuple[Category, ...]] = {
    "Structure Anomaly": _SHAPE,
    "Shape Distortion": _SHAPE,
    "Person Identity Inconsistency": _SHAPE,
    "General Object Identity Inconsistency": _SHAPE,
    "Abnormal Human Body Structure": _SHAPE,
    "Abnormal General Object Structure": _SHAPE,
    "Text Distortion": _SHAPE,
    "Unnatural Blur": (Category.SUDDEN_BLURRING,),
    "Abnormal Object Disappearance": (Category.OBJECT_DISAPPEARANCE,),
    "Abnormal Object Appearance": (Category.REDUNDANT_OBJECT,),
    "Abnormal Rigid-Body Crossing": _MERGE,
    "Abnormal Multi-Object Merging": _MERGE,
    "Abnormal Object Splitting": (Category.OBJECT_SPLITTING,),
    "Unnatural Human Movement": _PATH,
    "Unnatural Animal Movement": _PATH,
    "Unnatural General Object Movement": _PATH,
    "Texture Jittering": _NONE,
    "Color Over-saturation": _NONE,
    "Lighting Inconsistency": _NONE,
    "Camera Motion Inconsistency": _NONE,
    "General Interaction Anomaly": _NONE,
    "Violation of Physical Law": _NONE,
    "Violation of General Causality Law": _NONE,
}
"""The L3 categories of Skyra's taxonomy (its paper, section 3; `eval/utils/ViFBench.py`), to ours."""


def _kinds_of(name: str, table: Mapping[str, tuple[Category, ...]], where: str, notes: Notes) -> tuple[Category, ...]:
    if not table.get(name):
        what = "is none of the nine kinds" if name in table else "is a kind that is not known here"
        notes.add(where, f"{name!r} {what}; its trace has no category")
    return table.get(name, ())


# -- Artifact-Bench ---------------------------------------------------------------------------------------------------


@dataset_reader(folder="")
def read_artifact_bench(path: str, data: DatasetRoot) -> Rows:
    """One of its three task files: `task1_meta.jsonl`, `task2_meta.jsonl`, `task3_meta.jsonl`.

    Task 1 labels clips ("yes": made by a generator; a "no" may be animation or a game, which is reported). Task 2 says
    which of two clips looks more real, not whether one is; both become samples without a label, with the other's path
    in `artifact_bench`. Task 3 becomes a trace for each right option, without place and time.

    Format: FrankYang-17/Artifact-Bench at 43d6871, README and `eval/result_process.py`; Tang et al., arXiv 2605.18984.

    Raises:
        DataError: no such file, or not one row of it makes sense.
    """
    notes = Notes()

    def read(row: Mapping[str, Any], where: str) -> Iterator[Annotated]:
        task, clips = row.get("task_type"), row.get("video_path")
        clips = [clips] if isinstance(clips, str) else clips
        wanted = 2 if task == 2 else 1
        if task not in (1, 2, 3) or not isinstance(clips, list) or len(clips) != wanted:
            raise DataError(
                where, f"expected task_type 1, 2 or 3 and the paths of its clips but got {task!r}, {clips!r}"
            )
        answer = str(row.get("answer", "")).strip()
        paths = [data.path(clip, where) for clip in clips]
        about = {"task": task, "sample_id": row.get("sample_id"), "level": row.get("level")}
        if task == 2:
            if answer not in ("<Video A>", "<Video B>"):
                raise DataError(f"{where}, answer", f"expected <Video A> or <Video B> but got {answer!r}")
            for at, own in enumerate(paths):
                pair = {"other": paths[1 - at], "more_realistic": (answer == "<Video B>") == bool(at)}
                extra = {"artifact_bench": about | pair}
                yield Annotated(where, own, data.media(own), (), "artifact-bench", about={"extra": extra})
            notes.add(where, "says which of two clips looks more real, not whether one is: both have no label")
            return
        truth = Label.FAKE
        traces: tuple[Trace, ...] = ()
        if task == 1:
            if answer.lower() not in ("yes", "no"):
                raise DataError(f"{where}, answer", f"expected yes or no but got {answer!r}")
            truth = Label.FAKE if answer.lower() == "yes" else Label.REAL
            if truth is Label.REAL:
                notes.add(where, "'no' means made without a generator: animation and games may be among them")
        else:
            names = _right_options(row, answer, where)
            traces = tuple(
                Trace(categories=_kinds_of(name, ARTIFACT_BENCH_KINDS, where, notes), explanation=name)
                for name in names
            )
        extra = {"artifact_bench": about}
        yield Annotated(
            where, paths[0], data.media(paths[0]), traces, "artifact-bench", label=truth, about={"extra": extra}
        )

    return Rows(iter_objects(path), read, notes)


def _right_options(row: Mapping[str, Any], answer: str, where: str) -> list[str]:
    """Names of the options that are right: what stands before the colon of each."""
    options = row.get("option")
    if not isinstance(options, list) or not all(isinstance(one, str) for one in options):
        raise DataError(f"{where}, option", "expected a list of texts")
    letters = [letter.strip() for letter in answer.split(",") if letter.strip()]
    places = [ord(letter) - ord("A") if len(letter) == 1 else -1 for letter in letters]
    if not places or not all(0 <= place < len(options) for place in places):
        raise DataError(f"{where}, answer", f"{answer!r} names no option of {len(options)}")
    return [options[place].partition(":")[0].strip() for place in places]


# -- Skyra's ViF ------------------------------------------------------------------------------------------------------

_FOUND = re.compile(
    r"<type>(?P<kind>.*?)</type>\s*in\s*<t>(?P<time>.*?)</t>\s*at\s*<bbox>(?P<box>.*?)</bbox>", re.DOTALL
)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_TAGS = re.compile(r"</?(?:type|t|bbox|think|answer)>")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataset_reader(folder="videos")
def read_vif(path: str, data: DatasetRoot) -> Rows:
    """ViF-CoT-4K's conversations, ViF-Bench's `test_index.json`, or results of its `inference.py`.

    A conversation (LLaMA-Factory's `messages` or `conversations`, with the clip's frames in `images`) has, in its last
    answer, `<type>KIND</type> in <t>[from, to]</t> at <bbox>[x0, y0, x1, y1]</bbox>` a trace and `<answer>`: times in
    seconds, corners in fractions of the frame, all zero where it has no place. The sentence around it is the
    explanation. An index names frame folders by generator, "Real" among them; results add what a model answered, which
    is no truth and is left out.

    Format: JoeLeelyf/Skyra at 808e10d, README, `eval/utils/ViFBench.py` and `train/verl/.../ladm.py`; data cards of
    JoeLeelyf/ViF-CoT-4K and ViF-Bench; Li et al., arXiv 2512.15693. The rows of ViF-CoT-4K themselves are those of
    LLaMA-Factory (its `data/README.md`), for which the authors' training configuration is written.
    """
    notes = Notes()

    def read(row: Mapping[str, Any], where: str) -> Iterator[Annotated]:
        if "gt" in row:
            yield _vif_clip(row.get("video_id"), str(row["gt"]), str(row.get("aigc_model_name") or ""), where)
            notes.add(where, "holds a model's answer beside the truth, which was left out")
            return
        said = _last_answer(row, where)
        frames = row.get("images") or row.get("videos")
        if not isinstance(frames, list) or not frames or not isinstance(frames[0], str):
            raise DataError(f"{where}, images", "expected the paths of the clip's frames")
        place = frames[0].replace("\\", "/")
        clip = place.rpartition("/")[0] if row.get("images") else place
        answer = _ANSWER.search(said)
        if answer is None or answer.group(1).strip() not in ("Fake", "Real"):
            raise DataError(where, "the answer says neither Fake nor Real in <answer>")
        found = _vif_clip(clip, answer.group(1).strip(), "", where)
        facts, traces, incomplete = found.media, [], False
        for match in _FOUND.finditer(said) if found.label is Label.FAKE else ():
            trace = _vif_trace(match, said, facts, where, notes)
            incomplete = incomplete or trace is None
            traces += [] if trace is None else [trace]
        yield Annotated(
            where, found.path, facts, tuple(traces), "vif", incomplete=incomplete, label=found.label, about=found.about
        )

    def _vif_clip(clip: Any, truth: str, generator: str, where: str) -> Annotated:
        if truth.lower() not in ("real", "fake"):
            raise DataError(where, f"expected Real or Fake but got {truth!r}")
        own = data.path(_last_two(clip), where)
        real = truth.lower() == "real"
        about = {"source": generator} if generator and not real else {}
        return Annotated(where, own, data.media(own), (), "vif", label=Label.REAL if real else Label.FAKE, about=about)

    return Rows(_vif_rows(path), read, notes)


def _vif_rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Conversations and results as they stand; of an index, a row a frame folder."""
    number = 0
    for at, row in iter_objects(path):
        if "messages" in row or "conversations" in row or "gt" in row:
            yield at, row
            continue
        for generator, clips in row.items():
            if not isinstance(clips, list):
                raise DataError(f"{short_name(path)}, {generator}", "expected a list of frame folders")
            for clip in clips:
                number += 1
                truth = "Real" if generator.lower() == "real" else "Fake"
                yield number, {"gt": truth, "aigc_model_name": generator, "video_id": clip}


def _last_two(clip: Any) -> Any:
    """Generator and clip of a frame folder's path: what the authors' own ids are made of."""
    return "/".join(clip.replace("\\", "/").rstrip("/").split("/")[-2:]) + ".mp4" if isinstance(clip, str) else clip


def _last_answer(row: Mapping[str, Any], where: str) -> str:
    turns = row.get("messages") or row.get("conversations")
    last = turns[-1] if isinstance(turns, list) and turns else None
    said = (last.get("content") or last.get("value")) if isinstance(last, Mapping) else None
    if not isinstance(said, str):
        raise DataError(where, "the conversation has no answer")
    return said


def _vif_trace(match: re.Match[str], said: str, media: Media | None, where: str, notes: Notes) -> Trace | None:
    if media is None or media.fps is None:
        raise DataError(where, "marks times and places, for which size and rate are needed", "Name the videos' folder.")
    times = [float(number) for number in _NUMBER.findall(match["time"])]
    if len(times) != 2 or not 0 <= times[0] <= times[1]:
        notes.add(where, f"<t>{match['time']}</t> is no time from and to; the trace was left out")
        return None
    corners = [float(number) for number in _NUMBER.findall(match["box"])]
    box: Box | None = None
    if any(corners):
        try:
            box = Box(**dict(zip(("x0", "y0", "x1", "y1"), corners, strict=True)))
        except ValueError:  # of pydantic too
            notes.add(where, f"<bbox>{match['box']}</bbox> is no box in fractions; the trace has none")
    kind = match["kind"].strip()
    return Trace(
        categories=_kinds_of(kind, VIF_KINDS, where, notes),
        onset_s=times[0],
        offset_s=times[1],
        box=box,
        explanation=_sentence(said, match) or kind,
    )


def _sentence(said: str, match: re.Match[str]) -> str:
    """The sentence around a mark, without tags, times and corners."""
    start = max(said.rfind(mark, 0, match.start()) for mark in (". ", "\n", "<think>"))
    ends = [end for mark in (". ", "\n", "</think>") if (end := said.find(mark, match.end())) >= 0]
    before, after = said[max(start, 0) : match.start()], said[match.end() : min(ends, default=len(said))]
    text = f"{before.removeprefix('. ')}{match['kind']}{after}"
    return " ".join(_TAGS.sub("", text).split())


# -- Physion-Eval -----------------------------------------------------------------------------------------------------


@dataset_reader(folder="videos")
def read_physion_eval(path: str, data: DatasetRoot) -> Rows:
    """`Physion_Eval_20260322.json`: a list of generated clips, with an expert's reasoning where one has a glitch.

    Each record has `id`, `filename` (without an ending), `has_glitches` (0 or 1), `reasoning`, `glitch_severity`,
    `model` and `Glitch_Category`, sometimes `caption`. A glitch becomes a trace with the reasoning as its explanation;
    where and when stands in the words alone, and the categories of physics are none of the nine: they are kept in
    `physion_eval`. The released clips lack their first five frames. The reference videos are in no field of this file.

    Format: the data card of PhysionLabs/Physion-Eval at 1c53fd7a, and public programs that read that file; Zhang et
    al., arXiv 2603.19607.
    """
    notes = Notes()

    def read(row: Mapping[str, Any], where: str) -> Iterator[Annotated]:
        glitches = row.get("has_glitches")
        if glitches not in (0, 1):
            raise DataError(f"{where}, has_glitches", f"expected 0 or 1 but got {glitches!r}")
        own = data.path(row.get("filename"), where)
        traces: tuple[Trace, ...] = ()
        if glitches:
            traces = (Trace(explanation=text_of(row.get("reasoning"))),)
            notes.add(where, "says in words alone when the glitch is, and its category is none of the nine")
        kept = {"severity": row.get("glitch_severity"), "category": row.get("Glitch_Category"), "id": row.get("id")}
        about = {"source": text_of(row.get("model")) or None, "prompt": text_of(row.get("caption")) or None}
        extra = {"physion_eval": {name: value for name, value in kept.items() if value is not None}}
        yield Annotated(
            where, own, data.media(own), traces, "physion-eval", label=Label.FAKE, about=about | {"extra": extra}
        )

    return Rows(iter_objects(path), read, notes)
