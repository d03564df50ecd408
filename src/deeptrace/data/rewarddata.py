"""Read and write RewardData: rows in, one Sample a video out, and back without loss.

>>> from deeptrace.data import read_reward_data, write_reward_data
>>> samples = read_reward_data("all_data.json")           # doctest: +SKIP
>>> write_reward_data(samples, "again.json")              # the same rows, field for field  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deeptrace.data.reward_row import TRACE_FIELDS, RewardRow
from deeptrace.errors import DataError
from deeptrace.io import jsonl
from deeptrace.io.atomic import short_name
from deeptrace.schema import Label, Sample, Trace

__all__ = [
    "annotations_path",
    "iter_rows",
    "read_reward_data",
    "rows_of_sample",
    "samples_of_rows",
    "write_reward_data",
]

# What a folder's annotations may be called, in the order they are looked for.
ANNOTATION_NAMES = ("all_data.json", "all_data.jsonl", "all_data.parquet")
_SHARED = ("label", "path", "source", "prompt", "split", "media")
_FIELD_OF = {
    "label": "video_type",
    "path": "video_path",
    "source": "video_source",
    "prompt": "video_prompt",
    "media": "video_width",
}


def annotations_path(path: str | os.PathLike[str]) -> str:
    """The annotation file itself: `path`, or `all_data.json` (.jsonl, .parquet) in it when it is a folder.

    Raises:
        DataError: the folder has none.
    """
    text = str(path)
    if "://" in text or not os.path.isdir(text):
        return text
    for name in ANNOTATION_NAMES:
        if os.path.isfile(os.path.join(text, name)):
            return os.path.join(text, name)
    raise DataError(text, "the folder has no all_data.json", "Name the annotation file itself.")


def iter_rows(path: str | os.PathLike[str]) -> Iterator[RewardRow]:
    """The rows of a JSON list, JSON lines or Parquet file, or of the one in a folder, as a stream.

    A row's fields are checked when they are asked for, not here.

    Raises:
        DataError: the file cannot be read, or an item is no object.
    """
    path = annotations_path(path)
    name = short_name(path)
    if name.endswith(".parquet"):
        from deeptrace.data.exporters.parquet import iter_parquet_rows

        objects = iter_parquet_rows(path)
    else:
        objects = jsonl.iter_objects(path)
    for number, fields in objects:
        yield RewardRow(fields, f"{name}, row {number}")


def read_reward_data(
    path: str | os.PathLike[str],
    *,
    split: str | None = None,
    on_problem: Callable[[DataError], None] | None = None,
) -> list[Sample]:
    """One Sample a unique video, in order of first mention, its traces in row order.

    Args:
        path: annotation file or the folder that holds it; URLs work (fsspec).
        split: keep only this split.
        on_problem: called with each row's problem instead of raising it; the row is then left out.

    Raises:
        DataError: a row is invalid ("RewardData/all_data.json, row 12, faketrace_bbox: ..."), or rows of one
            video contradict each other.
    """
    samples = samples_of_rows(iter_rows(path), on_problem=on_problem)
    return [sample for sample in samples if split is None or sample.split == split]


def samples_of_rows(
    rows: Iterable[RewardRow], *, on_problem: Callable[[DataError], None] | None = None
) -> list[Sample]:
    """Group rows by video; `extra["rows"]` of each Sample keeps its rows verbatim, in order.

    A generated video whose only row has no box, time, text or tag becomes a Sample without traces.

    Raises:
        DataError: as `read_reward_data`.
    """
    groups: dict[str, list[RewardRow]] = {}
    traces: dict[str, list[Trace]] = {}
    for row in rows:
        try:
            trace = row.trace
            group = groups.get(row.video_id)
            if group:
                _same_video(group[0], row)
            for name in _SHARED:  # read, so that nonsense in them is found here
                getattr(row, name)
        except DataError as error:
            if on_problem is None:
                raise
            on_problem(error)
            continue
        groups.setdefault(row.video_id, []).append(row)
        if trace is not None:
            traces.setdefault(row.video_id, []).append(trace)
    return [_sample(group, traces.get(video_id, [])) for video_id, group in groups.items()]


def _same_video(first: RewardRow, row: RewardRow) -> None:
    """Raise when two rows of one video contradict each other; what only one of them states is no contradiction."""
    for name in _SHARED:
        ours, theirs = getattr(row, name), getattr(first, name)
        if ours != theirs and ours not in (None, "") and theirs not in (None, ""):
            raise DataError(
                f"{row.where}, {_FIELD_OF.get(name, name)}",
                f"{ours!r} contradicts {theirs!r} in {first.where} of the same video {row.video_id!r}",
            )


def _sample(group: list[RewardRow], traces: list[Trace]) -> Sample:
    def known(name: str) -> Any:
        return next((value for row in group if (value := getattr(row, name)) not in (None, "")), None)

    return Sample(
        video_id=group[0].video_id,
        path=known("path") or "",
        label=known("label"),
        source=known("source"),
        split=known("split"),
        prompt=known("prompt"),
        media=known("media"),
        traces=tuple(traces),
        extra={"rows": [dict(row.fields) for row in group]},
    )


def write_reward_data(
    data: Iterable[Sample] | Iterable[RewardRow] | Iterable[Mapping[str, Any]], path: str | os.PathLike[str]
) -> int:
    """Write samples or rows; `.json` (a list), `.jsonl` and `.parquet` by the name's ending. Returns the rows written.

    Samples that were read from RewardData and not changed give their rows back verbatim; what was changed since
    is changed in the row, the rest of it left as it was.

    Raises:
        DataError: the ending is another, a trace has a box but its video no stated size, or the disk says no.
    """
    rows = _plain_rows(data)
    suffix = Path(path).suffix.lower()
    if suffix == ".json":
        return jsonl.write_list(rows, path)
    if suffix == ".jsonl":
        return jsonl.write_lines(rows, path)
    if suffix == ".parquet":
        from deeptrace.data.exporters.parquet import write_parquet_rows

        return write_parquet_rows(rows, path)
    raise DataError(str(path), f"cannot write {suffix or 'a file without an ending'}", "Use .json, .jsonl or .parquet.")


def _plain_rows(data: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    for item in data:
        if isinstance(item, Sample):
            yield from rows_of_sample(item)
        else:
            yield item.fields if isinstance(item, RewardRow) else item


def rows_of_sample(sample: Sample) -> list[dict[str, Any]]:
    """The rows of one Sample: one a trace, or a single one when it has none.

    Raises:
        DataError: a trace has a box or time, but the Sample's media does not say the frame's size or rate.
    """
    old = [dict(row) for row in sample.extra.get("rows", ())]
    if not sample.traces:
        kept = [row for row in old if RewardRow(row).trace is None] or [_without_trace(row) for row in old[:1]]
        return [_with_video(row, sample) for row in kept or [{}]]
    if len(old) == len(sample.traces):
        return [_row(row, sample, trace) for row, trace in zip(old, sample.traces, strict=True)]
    # Traces were added or removed: each takes the row that already says it, the rest start from the video's fields.
    rows = []
    for trace in sample.traces:
        match = next((row for row in old if RewardRow(row).trace == trace), None)
        if match is not None:
            old.remove(match)
        base = match if match is not None else _without_trace(sample.extra.get("rows", ({},))[0])
        rows.append(_row(base, sample, trace))
    return rows


def _row(row: Mapping[str, Any], sample: Sample, trace: Trace) -> dict[str, Any]:
    fields = _with_video(row, sample)
    if _says(fields, trace):
        return fields
    fields = {name: value for name, value in fields.items() if name not in TRACE_FIELDS}
    return fields | _trace_fields(sample, trace)


def _says(fields: Mapping[str, Any], trace: Trace) -> bool:
    """Whether the row's fields are `trace` already; a box in pixels of another frame size may not even fit."""
    try:
        return RewardRow(fields).trace == trace
    except DataError:
        return False


def _without_trace(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TRACE_FIELDS}


def _with_video(row: Mapping[str, Any], sample: Sample) -> dict[str, Any]:
    """`row` with the fields of the video as `sample` has them; fields that already say so stay as they are."""
    fields = dict(row)
    before = RewardRow(row)
    media = sample.media
    if not row or before.video_id != sample.video_id:
        fields["video_id"] = sample.video_id
    if before.label is not sample.label:
        fields["video_type"] = None if sample.label is None else f"{Label(sample.label).value.lower()}_video"
    for name in ("path", "source", "prompt", "split"):
        if (getattr(before, name) or None) != (getattr(sample, name) or None):
            fields[_FIELD_OF.get(name, name)] = getattr(sample, name)
    if media is not None and before.media != media.model_copy(update={"sampled_times_s": ()}):
        fields |= {
            "video_width": media.width,
            "video_height": media.height,
            "video_frame_rate": media.fps,
            "video_frame_count": media.frames,
            "video_duration": media.duration_s,
        }
    for name, value in sample.extra.items():
        if name != "rows":
            fields[name] = value
    return fields


def _trace_fields(sample: Sample, trace: Trace) -> dict[str, Any]:
    """The `faketrace_*` fields of `trace`; the box in pixels, not rounded."""
    media, where = sample.media, f"video {sample.video_id}"
    fields: dict[str, Any] = dict.fromkeys(TRACE_FIELDS[:3])
    if trace.box is not None:
        if media is None:
            raise DataError(where, "a trace has a box, but the size of the frame is not known")
        pixels = trace.box.to_pixels_ltwh(width=media.width, height=media.height)
        fields["faketrace_bbox"] = dict(zip(("left", "top", "width", "height"), pixels, strict=True))
    if trace.onset_s is not None:
        if media is None or media.fps is None:
            raise DataError(where, "a trace has an onset, but the frame rate is not known")
        first = round(trace.onset_s * media.fps)
        fields["faketrace_first_frame"] = first
        if trace.offset_s is not None:
            fields["faketrace_duration"] = trace.offset_s - trace.onset_s
        if first / media.fps != trace.onset_s:
            fields["faketrace_onset_s"] = trace.onset_s
    fields["faketrace_explanations"] = trace.explanation
    fields["faketrace_check_applies"] = [category.value for category in trace.categories]
    if trace.score is not None:
        fields["faketrace_score"] = trace.score
    if trace.keyframes:
        fields["faketrace_keyframes"] = [key.model_dump(mode="json") for key in trace.keyframes]
    if trace.gaps:
        fields["faketrace_gaps"] = [gap.model_dump(mode="json") for gap in trace.gaps]
    return fields
