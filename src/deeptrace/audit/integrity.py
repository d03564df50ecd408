"""Is the set what its annotations say it is: rows, files, boxes, times, and clips that stand in it twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from deeptrace.audit.file_facts import FileFacts
from deeptrace.audit.near_duplicates import groups_of_pairs, near_duplicates
from deeptrace.data.media_join import MediaJoin
from deeptrace.data.reward_row import RewardRow
from deeptrace.data.splits import find_leaks
from deeptrace.errors import DataError
from deeptrace.plural import plural
from deeptrace.schema import Media, Sample

__all__ = ["Finding", "Severity", "check_duplicates", "check_files", "check_join", "check_rows", "check_splits"]

BOX_SLACK_PX = 1.0
TIME_SLACK_S = 0.05
FPS_SLACK = 0.01


class Severity(StrEnum):
    """How bad it is: results are wrong; look at it; good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        kind: what, as a word for programs ("box_outside_frame").
        severity: error, warning or note.
        subject: row, video or file.
        detail: one line for people.
    """

    kind: str
    severity: Severity
    subject: str
    detail: str


def check_rows(rows: Iterable[RewardRow]) -> Iterator[Finding]:
    """Rows on their own: boxes, times, tags."""
    for row in rows:
        try:
            yield from _check_row(row)
        except DataError as error:
            yield Finding("nonsense", Severity.ERROR, error.subject, error.problem)


def _check_row(row: RewardRow) -> Iterator[Finding]:
    subject = f"{row.where} ({row.video_id})"
    media, pixels = row.media, row.pixels_ltwh
    if media is not None and pixels is not None:
        left, top, width, height = pixels
        over = max(-left, -top, left + width - media.width, top + height - media.height)
        inside = left < media.width and top < media.height and left + width > 0 and top + height > 0
        if over > BOX_SLACK_PX:
            detail = f"the box ends {over:.1f} px outside the {media.width} x {media.height} frame"
            yield Finding("box_outside_frame", Severity.WARNING if inside else Severity.ERROR, subject, detail)
    onset, offset = row.onset_s, row.offset_s
    if media is not None and onset is not None:
        end = media.duration_s
        if onset >= end + TIME_SLACK_S:
            yield Finding("onset_after_end", Severity.ERROR, subject, f"begins at {onset:.2f} s of {end:.2f} s")
        elif offset is not None and offset > end + TIME_SLACK_S:
            yield Finding("offset_after_end", Severity.WARNING, subject, f"ends at {offset:.2f} s of {end:.2f} s")
    if row.label is not None and row.label.value == "REAL" and (pixels is not None or onset is not None):
        yield Finding("trace_on_real", Severity.ERROR, subject, "a real video has a trace")
    if row.unknown_tags:
        yield Finding("unknown_tag", Severity.WARNING, subject, f"no category for {', '.join(row.unknown_tags)}")
    if row.label is None:
        yield Finding("no_label", Severity.WARNING, subject, "neither real nor fake is stated")


def check_join(join: MediaJoin) -> Iterator[Finding]:
    """Missing, unmatched and shared files."""
    for video_id, path in join.missing.items():
        yield Finding("missing_media", Severity.ERROR, video_id, f"no file {path or 'is stated, nor one by its id'}")
    for path in join.unmatched:
        yield Finding("unmatched_media", Severity.WARNING, path, "no row names this file; it is left out")
    for path, owners in join.shared.items():
        yield Finding("shared_media", Severity.ERROR, path, f"is the file of {', '.join(owners)}")


def check_files(samples: Iterable[Sample], facts: Mapping[str, FileFacts]) -> Iterator[Finding]:
    """Files against the decoder, and stated facts against decoded ones; `facts` by video id."""
    for sample in samples:
        found = facts.get(sample.video_id)
        if found is None:
            continue
        if found.error is not None:
            yield Finding("corrupt", Severity.ERROR, sample.video_id, f"{found.path}: {found.error}")
            continue
        for line in found.warnings:
            yield Finding("decoder_warning", Severity.WARNING, sample.video_id, line)
        if sample.media is not None and found.decoded is not None:
            yield from _compare(sample.video_id, sample.media, found.decoded, stored=(found.width, found.height))


def _compare(video_id: str, stated: Media, decoded: Media, *, stored: tuple[int, int]) -> Iterator[Finding]:
    size = (stated.width, stated.height)
    if size != (decoded.width, decoded.height):
        detail = f"stated {stated.width} x {stated.height}, shown {decoded.width} x {decoded.height}"
        if size == stored:  # boxes as fractions mean the same in both; a rotated file would not be `stored`'s fault
            yield Finding("size_is_stored_size", Severity.NOTE, video_id, f"{detail} (not square, or rotated)")
        else:
            yield Finding("size_mismatch", Severity.ERROR, video_id, detail)
    if stated.fps and decoded.fps and abs(stated.fps - decoded.fps) > FPS_SLACK * decoded.fps:
        detail = f"stated {stated.fps:g} frames/s, decoded {decoded.fps:.3f}"
        yield Finding("fps_mismatch", Severity.WARNING, video_id, detail)
    if stated.frames is not None and decoded.frames is not None and abs(stated.frames - decoded.frames) > 1:
        detail = f"stated {plural(stated.frames, 'frame')}, decoded {decoded.frames}"
        yield Finding("frames_mismatch", Severity.WARNING, video_id, detail)
    if abs(stated.duration_s - decoded.duration_s) > max(0.1, 0.02 * decoded.duration_s):
        detail = f"stated {stated.duration_s:.2f} s, decoded {decoded.duration_s:.2f} s"
        yield Finding("duration_mismatch", Severity.WARNING, video_id, detail)


def check_duplicates(samples: Sequence[Sample], facts: Mapping[str, FileFacts]) -> Iterator[Finding]:
    """Clips that look the same: an error across splits or labels, a note within one."""
    known = [sample for sample in samples if sample.video_id in facts]
    pairs = list(near_duplicates([facts[sample.video_id].hashes for sample in known]))
    for group in groups_of_pairs(pairs):
        members = [known[i] for i in group]
        splits = {sample.split for sample in members}
        labels = {sample.label for sample in members}
        names = ", ".join(sample.video_id for sample in members)
        if len(labels) > 1:
            detail = f"look the same but differ in label: {names}"
            yield Finding("duplicate_across_labels", Severity.ERROR, members[0].video_id, detail)
        elif len(splits) > 1:
            detail = f"look the same and are in {', '.join(sorted(str(s) for s in splits))}: {names}"
            yield Finding("duplicate_across_splits", Severity.ERROR, members[0].video_id, detail)
        else:
            yield Finding("duplicate", Severity.NOTE, members[0].video_id, f"look the same: {names}")


def check_splits(samples: Iterable[Sample]) -> Iterator[Finding]:
    """Files that stand in two splits under different ids."""
    for leak in find_leaks(samples):
        detail = f"{leak.kind} in {' and '.join(leak.splits)}: {', '.join(leak.videos)}"
        yield Finding("split_leak", Severity.ERROR, leak.value, detail)
