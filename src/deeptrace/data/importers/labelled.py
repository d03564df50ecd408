"""Datasets that label clips, name times or list prompts: FaceForensics++, ForgeryNet, GenVideo, UCA, prompt lists.

What has no place in a row of its own (sentences with times, classes, compression) is kept in a field named after the
dataset, and survives a round trip.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from deeptrace.data.frames import Notes, trace_of_boxes
from deeptrace.data.importers.masks import mask_traces
from deeptrace.data.importers.shared import (
    Annotated,
    DatasetRoot,
    Imported,
    MediaOf,
    Rows,
    dataset_reader,
    text_of,
)
from deeptrace.data.media_join import VIDEO_SUFFIXES
from deeptrace.data.tables import iter_table_rows
from deeptrace.errors import DataError
from deeptrace.io.atomic import short_name
from deeptrace.io.jsonl import open_text
from deeptrace.schema import Label, Sample, Trace

__all__ = ["PROMPT_LISTS", "read_faceforensics", "read_forgerynet", "read_genvideo", "read_prompts", "read_uca"]


# -- FaceForensics++ --------------------------------------------------------------------------------------------------

_REAL_ROOT, _FAKE_ROOT = "original_sequences", "manipulated_sequences"
_SPLITS = ("train", "val", "test")


@dataset_reader(folder="")
def read_faceforensics(path: str, data: DatasetRoot) -> Rows:
    """The dataset's folder, as its download script leaves it: `original_sequences`, `manipulated_sequences`.

    Below these stand source or method, compression (`raw`, `c0`, `c23`, `c40`) and `videos`. A manipulated name is
    TARGET_SOURCE, in the DeepFakeDetection part TARGET_SOURCE__SCENE__ID. Where a method has its `masks/videos`, the
    masks become boxes over time. `splits/train.json` and its like, pairs of names, make the split of a clip and of its
    target; copy them from the authors' repository into the folder.

    Format: ondyari/FaceForensics at b952e41, dataset/README.md, dataset/splits, dataset/extract_compressed_videos.py;
    Rössler et al., arXiv 1901.08971.

    Raises:
        DataError: neither of the two folders is there, or not one clip can be read.
    """
    base, notes = Path(path), Notes()
    clips = [
        one
        for root in (_REAL_ROOT, _FAKE_ROOT)
        for one in sorted((base / root).glob("*/*/videos/*"))
        if one.suffix.lower() in VIDEO_SUFFIXES and one.parent.parent.name != "masks"
    ]
    if not clips:
        raise DataError(str(path), f"has no {_REAL_ROOT}/*/*/videos and no {_FAKE_ROOT}/*/*/videos")
    splits = _face_splits(base / "splits")

    def read(row: Mapping[str, Any], where: str) -> Iterator[Annotated]:
        clip = Path(row["clip"])
        name, method = clip.stem, clip.parents[2].name
        real = clip.parents[3].name == _REAL_ROOT
        facts = data.media(clip.relative_to(base).as_posix()) or _own_media(clip)
        traces: tuple[Trace, ...] = ()
        mask = clip.parents[2] / "masks" / "videos" / clip.name
        if not real and mask.is_file():
            traces, _ = mask_traces(mask, facts, where)
            notes.add(where, "of the mask's shape only its box is kept")
        target, _, rest = name.partition("_")
        extra: dict[str, Any] = {"compression": clip.parents[1].name}
        if not real:
            extra |= {"target": target, "identity": rest.split("__")[0]}
        about = {"source": method, "split": splits.get(name), "extra": {"faceforensics": extra}}
        below = (Path(data.folder) / clip.relative_to(base)).as_posix()
        yield Annotated(
            where, below, facts, traces, "faceforensics", video_id=below.rpartition(".")[0],
            label=Label.REAL if real else Label.FAKE, about=about,
        )  # fmt: skip

    rows = [(clip.relative_to(base).as_posix(), {"clip": str(clip)}) for clip in clips]
    return Rows(rows, read, notes)


def _own_media(clip: Path) -> Any:
    from deeptrace.video import probe

    return probe(clip).model_copy(update={"sampled_times_s": ()})


def _face_splits(folder: Path) -> dict[str, str]:
    """Split by clip's name: of both orders of each pair, and of both originals."""
    found: dict[str, str] = {}
    for split in _SPLITS:
        file = folder / f"{split}.json"
        if not file.is_file():
            continue
        try:
            pairs = [(str(a), str(b)) for a, b in json.loads(file.read_text(encoding="utf-8"))]
        except (OSError, TypeError, ValueError) as error:
            raise DataError(f"{folder.name}/{file.name}", f"expected a list of pairs of names: {error}") from error
        for a, b in pairs:
            found |= dict.fromkeys((a, b, f"{a}_{b}", f"{b}_{a}"), split)
    return found


# -- ForgeryNet -------------------------------------------------------------------------------------------------------


@dataset_reader(folder="videos")
def read_forgerynet(path: str, data: DatasetRoot) -> Rows:
    """A list of images or videos with labels in two, three and sixteen classes, and forged segments.

    An image's line: NAME BINARY TRIPLE CLASS. A video's: N NAME and N times START COUNT fake|real, then BINARY TRIPLE
    CLASS; frames are taken as counted from 0. A forged segment becomes a trace with a time and no place, for which the
    clip's rate is needed. Class 0 is real in all three; a line whose labels contradict its segments is set aside.

    Format: yinanhe/ForgeryNet at 09e9737, label_construction.txt and README; He et al., arXiv 2103.05630.
    """
    notes, name = Notes(), short_name(path)
    with open_text(path) as file:
        lines = [(number, {"line": line}) for number, line in enumerate(file, 1) if line.strip()]

    def read(row: Mapping[str, Any], where: str) -> Iterator[Annotated]:
        words = row["line"].split()
        video = len(words) != 4
        own, parts = _forged_line(words, where)
        classes = [int(word) for word in words[-3:]]
        fake = bool(classes[0])
        if fake != bool(classes[1]) or fake != bool(classes[2]) or (parts and fake != any(one.fake for one in parts)):
            raise DataError(where, f"labels {' '.join(words[-3:])} contradict each other or the segments")
        clip = data.path(own, where)
        facts = data.media(clip) if video else None
        forged = [one for one in parts if one.fake]
        if forged and (facts is None or facts.fps is None):
            raise DataError(where, "has forged segments in frames, and no rate is known", "Name the videos' folder.")
        rate = facts.fps if facts is not None and facts.fps is not None else 1.0
        traces = tuple(trace_of_boxes({}, one.first, one.end, rate) for one in forged)
        about = {"binary": classes[0], "triple": classes[1], "class": classes[2]}
        kind = f"forgerynet class {classes[2]}" if fake else "forgerynet real"
        yield Annotated(
            where, clip, facts, traces, "forgerynet", label=Label.FAKE if fake else Label.REAL,
            about={"source": kind, "extra": {"forgerynet": about}},
        )  # fmt: skip

    if not lines:
        raise DataError(name, "has no lines")
    return Rows(lines, read, notes)


_COUNT = re.compile("[0-9]{1,9}")
"""What `int` takes; `str.isdigit` is true of more."""


@dataclass(frozen=True)
class _Part:
    """Frames [first, end) of a clip, forged or not."""

    first: int
    end: int
    fake: bool


def _forged_line(words: list[str], where: str) -> tuple[str, list[_Part]]:
    """Name and segments of a line."""
    count = 0 if len(words) == 4 else int(words[0]) if _COUNT.fullmatch(words[0]) else -1
    if (len(words) != 4 and len(words) != 5 + 3 * count) or not all(_COUNT.fullmatch(word) for word in words[-3:]):
        problem = "expected NAME and three classes, or N NAME, N times START COUNT fake|real, and three classes"
        raise DataError(where, problem)
    if len(words) == 4:
        return words[0], []
    parts = []
    for at in range(2, 2 + 3 * count, 3):
        first, length, said = words[at : at + 3]
        if not (_COUNT.fullmatch(first) and _COUNT.fullmatch(length)) or said not in ("fake", "real"):
            raise DataError(where, f"expected START COUNT fake|real but got {first} {length} {said}")
        parts.append(_Part(int(first), int(first) + int(length), said == "fake"))
    if any(a.end > b.first for a, b in pairwise(parts)):
        raise DataError(where, "its segments overlap or are out of order")
    return words[1], parts


# -- GenVideo ---------------------------------------------------------------------------------------------------------


@dataset_reader(folder="videos")
def read_genvideo(path: str, data: DatasetRoot) -> Rows:
    """A table of `Preprocess/folder2csv.py`: `content_path` (a clip's folder of frames) and `label` (1: fake).

    The table is of one generator, whose name is the file's. Its paths are those of frames: a clip is looked for under
    the last folder's name.

    Format: chenhaoxing/DeMamba at 3daff8e; Chen et al., arXiv 2405.19707.
    """
    notes = Notes()

    def read(row: Mapping[str, Any], where: str) -> Iterator[Annotated]:
        said = text_of(row.get("label"))
        if said not in ("0", "1"):
            raise DataError(f"{where}, label", f"expected 0 or 1 but got {row.get('label')!r}")
        place = text_of(row.get("content_path")).replace("\\", "/").rstrip("/")
        own = data.path(place.rpartition("/")[2] + ".mp4" if place else None, where)
        notes.add(where, "names a folder of frames; its clip is taken to have the same name")
        truth = Label.FAKE if said == "1" else Label.REAL
        about = {"source": Path(path).stem, "extra": {"genvideo": {"frames": place}}}
        yield Annotated(where, own, data.media(own), (), "genvideo", label=truth, about=about)

    return Rows(iter_table_rows(path), read, notes)


# -- UCA --------------------------------------------------------------------------------------------------------------

_UCA_LINE = re.compile(r"(?P<name>\S+)\s+(?P<start>[\d:.]+)\s+(?P<end>[\d:.]+)\s*##(?P<text>.*)")


@dataset_reader(folder="videos")
def read_uca(path: str, data: DatasetRoot) -> Rows:
    """UCA (UCF-Crime Annotation): surveillance footage with sentences and their times; its JSON or its text.

    JSON: NAME to `duration`, `timestamps` ([from, to] in seconds) and `sentences`. Text: NAME FROM TO ##SENTENCE, times
    as MM:SS.s or HH:MM:SS.s. What happens in camera footage is no trace of a generator: the sentences go into `events`
    (`onset_s`, `offset_s`, `sentence`), the clips are REAL and have no traces.

    Format: Xuange923/Surveillance-Video-Understanding at e478cb5, README and `UCF Annotation`; Yuan et al., CVPR 2024.
    """
    notes = Notes()

    def read(row: Mapping[str, Any], where: str) -> Iterator[Annotated]:
        if "name" not in row:
            raise DataError(where, "expected NAME FROM TO ##SENTENCE, times as MM:SS.s or HH:MM:SS.s")
        own = data.path(f"{row['name']}.mp4", where)
        times, sentences = row.get("timestamps"), row.get("sentences")
        if not isinstance(times, list) or not isinstance(sentences, list) or len(times) != len(sentences):
            raise DataError(where, "expected as many timestamps as sentences")
        events = []
        for stated, sentence in zip(times, sentences, strict=True):
            if not _is_span(stated) or not isinstance(sentence, str):
                notes.add(where, "has a time that is none from and to, or no sentence; it was left out")
                continue
            events.append({"onset_s": float(stated[0]), "offset_s": float(stated[1]), "sentence": sentence.strip()})
        extra: dict[str, Any] = {"events": events}
        if _is_time(row.get("duration")):
            extra["duration_s"] = float(row["duration"])
        about = {"source": "UCF-Crime", "extra": extra}
        yield Annotated(where, own, data.media(own), (), "uca", label=Label.REAL, about=about)

    return Rows(_uca_rows(path), read, notes)


def _is_span(stated: Any) -> bool:
    return isinstance(stated, list) and len(stated) == 2 and all(map(_is_time, stated)) and stated[0] <= stated[1]


def _is_time(stated: Any) -> bool:
    """Whether it is a number of seconds that a clip can have; JSON as Python reads it knows NaN, too."""
    return isinstance(stated, (int, float)) and 0 <= stated < _LONGEST_S


_LONGEST_S = 1e9


def _uca_rows(path: str | os.PathLike[str]) -> Iterator[tuple[int | str, Mapping[str, Any]]]:
    """Each clip with what is said of it; a line that makes no sense has no name."""
    name = short_name(path)
    with open_text(path) as file:
        text = file.read()
    if text.lstrip().startswith("{"):
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(name, f"cannot be read as JSON: {error}") from error
        for clip, said in whole.items():
            yield clip, {"name": clip} | (said if isinstance(said, dict) else {})
        return
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        match = _UCA_LINE.fullmatch(line.strip())
        times = [_clock(match["start"]), _clock(match["end"])] if match else []
        if match is None or None in times:
            yield number, {}
            continue
        row = found.setdefault(match["name"], {"name": match["name"], "timestamps": [], "sentences": []})
        row["timestamps"].append(times)
        row["sentences"].append(match["text"])
    yield from found.items()


def _clock(text: str) -> float | None:
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    return sum(number * 60**power for power, number in enumerate(reversed(numbers))) if 2 <= len(parts) <= 3 else None


# -- prompt lists -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _PromptList:
    """A table of prompts: its columns of id and prompt, what its clips are, and what else is kept of a row."""

    id: str
    prompt: str
    label: Label | None
    kept: tuple[str, ...] = ()


PROMPT_LISTS: Mapping[str, _PromptList] = {
    "vidprom": _PromptList(
        "uuid", "prompt", Label.FAKE,
        ("time", "toxicity", "obscene", "identity_attack", "insult", "threat", "sexual_explicit"),
    ),
    "videoufo": _PromptList("ID", "Detailed_Caption", Label.REAL, ("Topic", "Brief_Caption", "Start_Time", "End_Time")),
    "videoalign": _PromptList("", "prompt", None, ("prompt_shorter", "prompt_zh")),
}  # fmt: skip
"""The tables that `read_prompts` knows, told by their columns; the first that fits."""


def read_prompts(
    path: str | os.PathLike[str],
    *,
    media: MediaOf | None = None,
    folder: str = "videos",
    label: Label | None = None,
    source: str | None = None,
) -> Imported:
    """A list of prompts: VidProM's or VideoUFO's table, VideoAlign's `video_eval_prompts`, or a text, a prompt a line.

    Each becomes a sample without a path, which is looked for under `videos/ID.mp4`; ids of lists that have none are
    FILE-1, FILE-2 and so on. Clips made for these prompts are `deeptrace collect`'s. VideoUFO's are captions of camera
    footage. Step-Video-T2V-Eval is such a text.

    Format: WangWenhao0716/VidProM at b005e45, README; data card of WenhaoWang/VideoUFO (features); KwaiVGI/VideoAlign
    at 219ab9d, datasets/video_eval_prompts; stepfun-ai/Step-Video-T2V at 675e08c, benchmark/evaluation.py.

    Args:
        path: the table (CSV, Parquet, JSON) or the text.
        media, folder: not asked: a prompt is no clip.
        label: the truth of the clips, instead of the list's.
        source: generator of the clips.

    Raises:
        DataError: no such file, or a table with other columns; the subject names row and field.
    """
    del media, folder
    name = short_name(path)
    stem = Path(name).stem if Path(name).suffix in (".csv", ".parquet", ".json", ".jsonl", ".txt") else Path(name).name
    samples: list[Sample] = []
    taken: set[str] = set()
    for number, row in _prompt_rows(path):
        where = f"{name}, row {number}"
        known = next(
            (one for one in PROMPT_LISTS.values() if (not one.id or one.id in row) and one.prompt in row), None
        )
        if known is None:
            columns = ", ".join(f"{one.id} and {one.prompt}".removeprefix(" and ") for one in PROMPT_LISTS.values())
            raise DataError(where, f"is no list of prompts: expected the columns {columns}")
        video_id, prompt = text_of(row.get(known.id)) or f"{stem}-{number}", text_of(row[known.prompt])
        if not prompt:
            raise DataError(f"{where}, {known.prompt}", "has no text")
        if video_id in taken:
            raise DataError(f"{where}, {known.id}", f"{video_id!r} stands there twice")
        taken.add(video_id)
        extra = {key: row[key] for key in known.kept if row.get(key) not in (None, "")}
        samples.append(
            Sample(
                video_id=video_id,
                path="",
                label=label or known.label,
                source=source,
                prompt=prompt,
                extra={"prompt_list": extra} if extra else {},
            )
        )
    if not samples:
        raise DataError(name, "has no prompts")
    return Imported(samples=samples)


def _prompt_rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if Path(path).suffix.lower() in (".csv", ".parquet", ".json", ".jsonl"):
        yield from iter_table_rows(path)
        return
    with open_text(path) as file:
        lines = [line.strip() for line in file if line.strip()]
    yield from ((number, {"prompt": line}) for number, line in enumerate(lines, 1))
