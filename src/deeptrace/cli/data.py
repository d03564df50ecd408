"""`deeptrace data`: download, split, export and import datasets in RewardData's format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptrace.cli.terminal import EXIT_FAILED_INPUTS, interrupted, note, stage_bars
from deeptrace.errors import SettingsError

if TYPE_CHECKING:
    from deeptrace.trace import Sample

__all__ = ["data"]

data = typer.Typer(
    help="Download, split, export and import datasets in RewardData's format.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DataPath = Annotated[str, typer.Argument(metavar="DIR_OR_JSON", help="The dataset's folder or annotation file.")]


class SplitBy(StrEnum):
    """What is kept whole."""

    VIDEO = "video"
    SOURCE = "source"
    GENERATOR_FOLDS = "generator-folds"


class Truth(StrEnum):
    """`deeptrace.trace.Label`, without importing it before the command runs."""

    REAL = "REAL"
    FAKE = "FAKE"


class ExportFormat(StrEnum):
    """Where to."""

    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"
    HUB = "hub"
    MESSAGES = "messages"
    LLAMAFACTORY = "llamafactory"
    SWIFT = "swift"
    VLMEVALKIT = "vlmevalkit"


class ImportFormat(StrEnum):
    """Where from."""

    LABELBOX = "labelbox"
    CVAT = "cvat"


class FormName(StrEnum):
    """The wording of questions and answers."""

    FINE_TUNING = "fine-tuning"
    ZERO_SHOT = "zero-shot"
    JSON = "json"


@data.command()
def download(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; a run that was stopped goes on there.")],
    dataset: Annotated[str, typer.Option(help="Id on the hub.")] = "DeeptraceReward/RewardData",
    revision: Annotated[str, typer.Option(help="Branch, tag or commit.")] = "main",
    base_url: Annotated[str, typer.Option(help="The hub, or a mirror with its API.")] = "https://huggingface.co",
    unpacked: Annotated[bool, typer.Option("--unpack/--no-unpack", help="Unpack the zips beside them.")] = True,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives/--drop-archives", help="Keep the zips once they are unpacked.")
    ] = True,
) -> None:
    """Fetch the release: listed, resumed, every file checked, split zips unpacked without joining them."""
    from deeptrace.data.download import Fetcher, download_release

    with stage_bars() as show:
        try:
            download_release(
                folder,
                dataset=dataset,
                revision=revision,
                base_url=base_url,
                unpacked=unpacked,
                keep_archives=keep_archives,
                fetcher=Fetcher(on_progress=show),
                on_unpack=lambda _, done, total: show("unpacking", done, total),
            )
        except KeyboardInterrupt:
            interrupted(f"what was fetched is kept in {folder}; run the same command to go on")
    note(f"{folder} is whole; `deeptrace audit {folder}` looks it over")


@data.command()
def split(
    path: DataPath,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The rows with their new split; a folder for folds.")],
    by: Annotated[SplitBy, typer.Option(help="What is never parted.")] = SplitBy.VIDEO,
    ratios: Annotated[str, typer.Option(metavar="A:B:C", help="Shares of train, val and test.")] = "8:1:1",
    seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 0,
) -> None:
    """Split by unique video, by whole sources, or into folds that each leave one generator out."""
    from deeptrace.data import read_reward_data, write_reward_data
    from deeptrace.data.splits import apply_split, leave_one_generator_out, split_by_source, split_by_video

    samples = read_reward_data(path)
    if by is SplitBy.GENERATOR_FOLDS:
        for fold in leave_one_generator_out(samples, seed=seed):
            name = "".join(char if char.isalnum() or char in "-._" else "_" for char in fold.held_out)
            parts = apply_split(samples, fold.split)
            write_reward_data(parts, out / f"without_{name}.json")
            note(f"{out / f'without_{name}.json'}: {_counts(parts)}")
        return
    chosen = split_by_source if by is SplitBy.SOURCE else split_by_video
    parts = apply_split(samples, chosen(samples, ratios=_ratios(ratios), seed=seed))
    write_reward_data(parts, out)
    note(f"{out}: {_counts(parts)}")


@data.command()
def leaks(
    path: DataPath,
    sources: Annotated[bool, typer.Option("--sources", help="A source in two splits is a leak too.")] = False,
) -> None:
    """List videos and files (and, if asked, sources) that stand in more than one split. Exit code 1 if any does."""
    from deeptrace.data import iter_rows
    from deeptrace.data.splits import find_leaks
    from deeptrace.trace import Sample

    # Row by row, not grouped: grouping refuses a video that stands in two splits before it could be listed.
    rows = [Sample(video_id=row.video_id, path=row.path, source=row.source, split=row.split) for row in iter_rows(path)]
    found = find_leaks(rows, sources=sources)
    for leak in found:
        typer.echo(f"{leak.kind}\t{leak.value}\t{', '.join(leak.splits)}\t{len(leak.videos)} videos")
    if found:
        raise typer.Exit(EXIT_FAILED_INPUTS)
    note(f"no leaks in {len(rows)} rows")


@data.command("export")
def export_command(
    path: DataPath,
    to: Annotated[ExportFormat, typer.Option(help="The format.")],
    out: Annotated[Path, typer.Option(metavar="PATH", help="The file; a folder for `hub`.")],
    split_name: Annotated[str | None, typer.Option("--split", help="Only this split.")] = None,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help="Put before the videos' relative paths.")] = None,
    form: Annotated[
        FormName | None, typer.Option(help="Wording. [default: fine-tuning; zero-shot for vlmevalkit]")
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="Do not ask for: box, time or explanation.")] = None,
    per: Annotated[str, typer.Option(help="One conversation a `row`, as the paper trains, or a `video`.")] = "row",
) -> None:
    """Write a dataset for another program."""
    from deeptrace.data import read_reward_data, write_reward_data
    from deeptrace.data.export import write_conversations, write_hub_folder, write_vlmevalkit
    from deeptrace.protocol import FINE_TUNING, JSON, ZERO_SHOT

    samples = read_reward_data(path, split=split_name)
    if per not in ("row", "video"):
        raise SettingsError(f"--per {per}", "expected row or video")
    named = {FormName.FINE_TUNING: FINE_TUNING, FormName.ZERO_SHOT: ZERO_SHOT, FormName.JSON: JSON}
    asked = named[form or (FormName.ZERO_SHOT if to is ExportFormat.VLMEVALKIT else FormName.FINE_TUNING)]
    try:
        asked = asked.without(*(without or ()))
    except ValueError as error:
        raise SettingsError("--without", str(error)) from error
    if to in (ExportFormat.JSON, ExportFormat.JSONL, ExportFormat.PARQUET):
        if out.suffix.lower() != f".{to.value}":
            raise SettingsError(f"--out {out}", f"expected a name that ends in .{to.value}")
        count = write_reward_data(samples, out)
    elif to is ExportFormat.HUB:
        count = write_hub_folder(samples, out)
    elif to is ExportFormat.VLMEVALKIT:
        count = write_vlmevalkit(samples, out, form=asked)
    else:
        count = write_conversations(
            samples, out, to.value, root=root, form=asked, per="row" if per == "row" else "video"
        )
    note(f"{out}: {count} rows of {len(samples)} videos")


@data.command("import")
def import_command(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The tool's export.")],
    source_format: Annotated[ImportFormat, typer.Option("--from", help="The tool.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Rows in RewardData's format.")],
    passes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Every annotator's pass as well (JSON lines).")
    ] = None,
    media: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The dataset's folder; CVAT's frame rates are read there.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.01, help="Frame rate of CVAT's videos, when they share one.")
    ] = None,
    folder: Annotated[str, typer.Option(help="Where the videos lie, below the dataset's folder.")] = "videos",
    project: Annotated[str | None, typer.Option(help="Labelbox: project to read, by id or name.")] = None,
    truth: Annotated[
        Truth | None, typer.Option("--label", help="The truth of all videos. [default: FAKE with a trace]")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Generator or origin of all videos.")] = None,
) -> None:
    """Read annotations from Labelbox (NDJSON video export) or CVAT (for video 1.1)."""
    from deeptrace.data import write_passes, write_reward_data
    from deeptrace.data.importers import read_cvat, read_labelbox
    from deeptrace.trace import Label

    label = Label(truth.value) if truth is not None else None
    if source_format is ImportFormat.LABELBOX:
        found = read_labelbox(path, project=project, folder=folder, label=label, source=source)
    else:
        rate = fps if fps is not None or media is None else (lambda name: _rate_of(media / name))
        found = read_cvat(path, fps=rate, folder=folder, label=label, source=source)
    for warning in found.warnings:
        note(f"warning: {warning}")
    write_reward_data(found.samples, out)
    if passes is not None:
        write_passes(found.passes, passes)
    note(f"{out}: {len(found.samples)} videos, {sum(len(sample.traces) for sample in found.samples)} traces")


def _rate_of(path: Path) -> float:
    from deeptrace.video import probe

    rate = probe(path).fps
    if rate is None:
        raise SettingsError(str(path), "does not say its frame rate", "State it with --fps.")
    return rate


def _ratios(text: str) -> dict[str, float]:
    parts = text.split(":")
    names = ("train", "val", "test")
    try:
        numbers = [float(part) for part in parts]
    except ValueError as error:
        raise SettingsError(f"--ratios {text}", "expected numbers, as 8:1:1") from error
    if not 2 <= len(numbers) <= 3:
        raise SettingsError(f"--ratios {text}", "expected two or three numbers, as 8:1:1")
    return dict(zip(names if len(numbers) == 3 else ("train", "test"), numbers, strict=True))


def _counts(samples: Sequence[Sample]) -> str:
    counts = Counter((sample.split or "none", str(sample.label or "unknown").lower()) for sample in samples)
    return ", ".join(f"{name} {count} {label}" for (name, label), count in sorted(counts.items()))
