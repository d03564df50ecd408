"""Files of predictions by anybody -> (video id, Verdict), streaming; an ill-formed answer is an outcome, not a gap.

Three kinds are told apart by their content:

1. our own JSONL, a `Verdict` a line;
2. JSONL with `video_id`, `predicted_label`, `fake_probability`, `bbox`, `start_time`, `end_time`, `explanation`,
   `raw_output`, `error`, as third parties publish for RewardData;
3. one JSON object `{video_id: text}` with model answers in one of the paper's forms.

**The label rule of kind 2.** The published per-video accuracies of such files come out when `predicted_label` alone
counts, exactly REAL or FAKE whatever its case, and the number of all videos is the denominator. Any other value ("REAL
OR FAKE", an echo of the question), an empty or missing one is neither class: it is `parse_failed`, and counts as a
wrong answer to its video. It is not dropped and not taken for REAL, and the raw text does not overrule the field, even
where that party's own reader took a word of an echo for an answer; such a row gets a warning.

A row of kind 2 may say how large the frames were that its model saw (`input_frame_size`, [width, height]): what boxes
in `resized_pixels` refer to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deeptrace.errors import AnswerError, DataError
from deeptrace.net.chat_client import storable
from deeptrace.prompts.coordinates import View
from deeptrace.prompts.parse import verdict_of_text
from deeptrace.prompts.parse_json import TraceFields, read_probability
from deeptrace.prompts.parse_labels import find_label, label_of_word
from deeptrace.prompts.parse_numbers import number
from deeptrace.prompts.template import FINE_TUNING, JSON, AnswerForm
from deeptrace.schema import DetectorInfo, Label, Outcome, Sample, Trace, Verdict
from deeptrace.urls import public_url

__all__ = ["Joined", "join_predictions", "read_predictions", "verdict_of_row", "views_of"]

_TRACE_KEYS = ("bbox", "box", "start_time", "end_time", "explanation", "categories")
_NO_ANSWER = frozenset({"", "null", "none"})
_FRAME_SIZES = ("input_frame_size", "frame_size", "resized_size", "resized", "model_frame_size")


@dataclass(frozen=True)
class Joined:
    """Predictions beside their samples.

    Attributes:
        verdicts: one a sample, in the samples' order; None where there is none.
        unmatched: ids that no sample has.
        repeated: ids of samples with several predictions, of which the last counts.
    """

    verdicts: list[Verdict | None]
    unmatched: list[str]
    repeated: list[str]


def views_of(samples: Iterable[Sample]) -> Callable[[str], View]:
    """What is known of each video's frame and length, by video id: what boxes in pixels refer to."""
    known = {sample.video_id: View.of(sample.media) for sample in samples}
    return lambda video_id: known.get(video_id, View())


def read_predictions(
    path: str | Path,
    *,
    views: Callable[[str], View] | None = None,
    form: AnswerForm = FINE_TUNING,
    trust_raw: bool = False,
) -> Iterator[tuple[str, Verdict]]:
    """Read a predictions file of any of the three kinds, one video at a time.

    Args:
        path: the file. Kinds 1 and 2 are streamed; kind 3 is one JSON value and is loaded.
        views: size and length of a video by its id (see `views_of`). Without it boxes in pixels are left out, with a
            warning in the verdict.
        form: what the models were asked: tells the space of boxes and what a bare time means (kinds 2 and 3).
        trust_raw: read `raw_output` of kind 2 again with our own parser instead of that party's fields.

    Yields:
        The video's id (for kind 1 its `video` as written) and the verdict, in the order of the file.

    Raises:
        DataError: the file does not exist, is not JSON, or a line is not an object; names file and line.
    """
    path = Path(path)
    views = views or (lambda _: View())
    try:
        handle = path.open(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(str(path), f"cannot be read: {error.strerror}") from error
    with handle:
        try:
            first, second = islice(chain((line for line in handle if line.strip()), ("", "")), 2)
            whole = _whole_file(first, second)
            handle.seek(0)
            rows = _whole_rows(storable(json.load(handle)), str(path)) if whole else _lines(handle, str(path))
            for where, row in rows:
                yield _one(row, where, views, form, trust_raw)
        except UnicodeDecodeError as error:
            raise DataError(str(path), "is not UTF-8 text", "Give a .json or .jsonl file.") from error
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(str(path), f"is not JSON: {error}") from error


def join_predictions(samples: Iterable[Sample], predictions: Iterable[tuple[str, Verdict]]) -> Joined:
    """Put each prediction beside its sample.

    A prediction belongs to the sample of that id, path, or (where it is unique) file name without suffix. The last of
    several predictions for one sample counts.
    """
    listed = list(samples)
    stems: dict[str, int] = {}
    for index, sample in enumerate(listed):
        stem = _stem(sample.path)
        stems[stem] = -1 if stem in stems else index
    index_of = {name: i for name, i in stems.items() if i >= 0}
    index_of |= {public_url(sample.path): i for i, sample in enumerate(listed)}
    index_of |= {sample.video_id: i for i, sample in enumerate(listed)}
    joined: list[Verdict | None] = [None] * len(listed)
    unmatched: list[str] = []
    repeated: dict[str, None] = {}
    for name, verdict in predictions:
        index = index_of.get(public_url(name), index_of.get(_stem(name), -1))
        if index < 0:
            unmatched.append(name)
            continue
        if joined[index] is not None:
            repeated[listed[index].video_id] = None
        joined[index] = verdict
    return Joined(joined, unmatched, list(repeated))


def verdict_of_row(row: Mapping[str, Any], *, view: View | None = None, form: AnswerForm = FINE_TUNING) -> Verdict:
    """The verdict of one row of kind 2, by its fields (see the module's text for the label rule).

    A row whose parts contradict one another (REAL with a box, a probability against the label) is kept as it is,
    with warnings.
    """
    view = _row_view(row, view or View())
    video = str(row["video_id"])
    raw = row.get("raw_output")
    about: dict[str, Any] = {"detector": _detector(row), "raw": raw if isinstance(raw, str) else None}
    elapsed = number(row.get("latency_seconds"))
    if elapsed is not None and elapsed >= 0:
        about["elapsed_s"] = elapsed
    stated = row.get("predicted_label")
    label = label_of_word(stated) if isinstance(stated, str) and stated.strip().upper() in ("REAL", "FAKE") else None
    if label is None:
        shown = row.get("error") or f"label {str(stated)[:40]!r} is neither REAL nor FAKE"
        return Verdict.failed(video, Outcome.PARSE_FAILED, str(shown), **about)
    warnings = [text for text in (row.get("format_warning"),) if isinstance(text, str) and text]
    warnings += _raw_warnings(raw, label)
    p_fake = read_probability(row.get("fake_probability"), warnings)
    reader = TraceFields(form, view)
    fields = {key: row[key] for key in _TRACE_KEYS if row.get(key) is not None}
    if label is Label.REAL:
        fields.pop("explanation", None)  # why it is real: no trace
    traces: list[Trace] = reader.read(fields, single=True, label=label)
    if label is Label.REAL and traces:
        warnings.append("a REAL answer that names a place or time: kept")
    return Verdict(
        video=video,
        outcome=Outcome.SCORED,
        label=label,
        p_fake=p_fake,
        traces=tuple(traces),
        warnings=tuple(dict.fromkeys(" ".join(text.split()) for text in (*warnings, *reader.warnings))),
        **about,
    )


def _raw_warnings(raw: Any, label: Label) -> list[str]:
    if not isinstance(raw, str) or len(raw) > 500 or "{" in raw:
        return []
    try:
        said = find_label(raw.strip()).label
    except AnswerError as error:
        return [f"the raw answer is unreadable ({error}), the file's label is kept"]
    return [] if said is label else [f"the raw answer reads as {said}, the file's label is kept"]


def _row_view(row: Mapping[str, Any], view: View) -> View:
    """The view with the size of the frames that the row's model saw, where the row says it."""
    for name in _FRAME_SIZES:
        stated = row.get(name)
        sides = [stated.get("width"), stated.get("height")] if isinstance(stated, dict) else stated
        if isinstance(sides, list) and len(sides) == 2:
            wide, high = (number(side) for side in sides)
            if wide is not None and high is not None and wide > 0 and high > 0:
                return replace(view, resized=(wide, high))
    return view


def _detector(row: Mapping[str, Any]) -> DetectorInfo | None:
    name = row.get("model_id")
    if not isinstance(name, str) or not name:
        return None
    keys = ("model_repo", "prompt_version", "sampled_frames", "adapter", "quantization", "max_pixels_per_frame")
    settings = {key: row[key] for key in (*keys, "threshold", "checkpoint") if _is_setting(row.get(key))}
    return DetectorInfo(name=name, version=str(row.get("prompt_version") or ""), settings=settings)


def _is_setting(value: Any) -> bool:
    """Whether a value can stand in a manifest: a text or a finite number."""
    return isinstance(value, (str, bool)) or (isinstance(value, (int, float)) and number(value) is not None)


def _whole_file(first: str, second: str) -> bool:
    """Whether the file is one JSON value, by its first two lines with text.

    It is where the first does not parse alone, or is neither a row nor followed by anything.
    """
    try:
        row = json.loads(first)
    except ValueError:
        return True
    return not (isinstance(row, dict) and ("video_id" in row or "outcome" in row or second))


def _lines(handle: Iterable[str], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for at, line in enumerate(handle, 1):
        if not line.strip():
            continue
        where = f"{path}, line {at}"
        try:
            row = storable(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise DataError(where, f"is not JSON: {error}", "Was its writer cut off?") from error
        if not isinstance(row, dict):
            raise DataError(where, f"expected an object but got {type(row).__name__}")
        yield where, row


def _whole_rows(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        for video_id, text in value.items():
            row = text if isinstance(text, dict) else {"text": text}
            yield f"{path}, {video_id}", {**row, "video_id": video_id}
    elif isinstance(value, list):
        for at, row in enumerate(value, 1):
            if not isinstance(row, dict):
                raise DataError(f"{path}, row {at}", f"expected an object but got {type(row).__name__}")
            yield f"{path}, row {at}", row
    else:
        raise DataError(path, f"expected an object or a list but got {type(value).__name__}")


def _one(
    row: dict[str, Any], where: str, views: Callable[[str], View], form: AnswerForm, trust_raw: bool
) -> tuple[str, Verdict]:
    if "outcome" in row and "video" in row:
        try:
            return str(row["video"]), Verdict.model_validate(row)
        except ValidationError as error:
            problem = error.errors()[0]
            raise DataError(where, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
    video_id = _video_id(row, where)
    row, view = {**row, "video_id": video_id}, _row_view(row, views(video_id))
    if "text" in row and "predicted_label" not in row:
        return video_id, _of_text(row["text"], video_id, form, view)
    if trust_raw:
        raw_form = AnswerForm(style=JSON.style, space=form.space, times=form.times)
        return video_id, _of_text(row.get("raw_output"), video_id, raw_form, view, detector=_detector(row))
    return video_id, verdict_of_row(row, view=view, form=form)


def _video_id(row: Mapping[str, Any], where: str) -> str:
    """The id of a row: a text, or a whole number that some writers make of one."""
    found = row.get("video_id")
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str) or not found:
        problem = (
            "has no video_id" if found in (None, "") else f"has the video_id {str(found)[:40]!r}, which is no text"
        )
        raise DataError(where, problem, "Expected our own verdicts, rows with a video_id, or {video_id: text}.")
    return found


def _of_text(text: Any, video_id: str, form: AnswerForm, view: View, **about: Any) -> Verdict:
    if not isinstance(text, str) or text.strip().lower() in _NO_ANSWER:
        return Verdict.failed(video_id, Outcome.PARSE_FAILED, "the answer is empty", **about)
    return verdict_of_text(text, video=video_id, form=form, view=view, **about)


def _stem(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or name
