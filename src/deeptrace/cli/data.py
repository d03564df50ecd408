"""`deeptrace data`: download, split, export and import datasets in RewardData's format."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptrace.cli.console import EXIT_FAILED_INPUTS, interrupted, note, parts_of, printable, stage_bars
from deeptrace.errors import DataError, SettingsError
from deeptrace.plural import plural

if TYPE_CHECKING:
    from deeptrace.schema import Media, Sample

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


class GroundTruth(StrEnum):
    """`deeptrace.schema.Label`, without importing it before the command runs."""

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
    LMMS_EVAL = "lmms-eval"
    CVAT = "cvat"
    LABEL_STUDIO = "label-studio"
    LABELBOX = "labelbox"
    COCO = "coco"
    FIFTYONE = "fiftyone"


_TOOLS = (
    ExportFormat.CVAT,
    ExportFormat.LABEL_STUDIO,
    ExportFormat.LABELBOX,
    ExportFormat.COCO,
    ExportFormat.FIFTYONE,
)


class ImportFormat(StrEnum):
    """Where from."""

    LABELBOX = "labelbox"
    CVAT = "cvat"
    LABEL_STUDIO = "label-studio"
    COCO = "coco"
    FIFTYONE = "fiftyone"
    ARTIFACT_BENCH = "artifact-bench"
    FACEFORENSICS = "faceforensics"
    FORGERYNET = "forgerynet"
    GENVIDEO = "genvideo"
    MASKS = "masks"
    PHYSION_EVAL = "physion-eval"
    PROMPTS = "prompts"
    UCA = "uca"
    VIF = "vif"


class FormName(StrEnum):
    """The wording of questions and answers."""

    FINE_TUNING = "fine-tuning"
    ZERO_SHOT = "zero-shot"
    JSON = "json"


@data.command()
def download(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to download to, or to go on in.")],
    dataset: Annotated[str, typer.Option(help="The dataset's id on the hub.")] = "DeeptraceReward/RewardData",
    revision: Annotated[str, typer.Option(help="Branch, tag or commit.")] = "main",
    base_url: Annotated[str, typer.Option(help="The hub, or a mirror with its API.")] = "https://huggingface.co",
    unpacked: Annotated[bool, typer.Option("--unpack/--no-unpack", help="Unpack the zips beside them.")] = True,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives/--drop-archives", help="Keep the zips once they are unpacked.")
    ] = True,
) -> None:
    """Fetch RewardData, or a dataset like it, from the hub; run it again to go on. Every file is checked."""
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
            interrupted("what was fetched is kept in ", folder, "; run the same command to go on")
    note(folder, " is complete; check it with: deeptrace audit ", folder)


@data.command()
def split(
    path: DataPath,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Where the rows with their new split go; a folder for generator-folds.")
    ],
    by: Annotated[SplitBy, typer.Option(help="What is never in two splits.")] = SplitBy.VIDEO,
    ratios: Annotated[str, typer.Option(metavar="A:B:C", help="Shares of train, val and test.")] = "8:1:1",
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another division.")] = 0,
) -> None:
    """Divide a dataset into train, val and test, so that no video, or no source, is in two of them.

    `--by generator-folds` makes one division a generator, each of which leaves that generator out of training.
    """
    from deeptrace.data import read_reward_data, write_reward_data
    from deeptrace.data.splits import apply_split, leave_one_generator_out, split_by_source, split_by_video

    samples = read_reward_data(path)
    if by is SplitBy.GENERATOR_FOLDS:
        for fold in leave_one_generator_out(samples, seed=seed):
            name = "".join(char if char.isalnum() or char in "-._" else "_" for char in fold.held_out)
            parts = apply_split(samples, fold.split)
            write_reward_data(parts, out / f"without_{name}.json")
            note(out / f"without_{name}.json", f": {_counts(parts)}")
        return
    chosen = split_by_source if by is SplitBy.SOURCE else split_by_video
    parts = apply_split(samples, chosen(samples, ratios=_ratios(ratios), seed=seed))
    write_reward_data(parts, out)
    note(out, f": {_counts(parts)}")


@data.command()
def leaks(
    path: DataPath,
    sources: Annotated[bool, typer.Option("--sources", help="Count a source in two splits as a leak, too.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON object a leak on stdout, and nothing else.")
    ] = False,
) -> None:
    """List videos and files that are in more than one split. Exit code 1 if any is."""
    from deeptrace.data import iter_rows
    from deeptrace.data.splits import find_leaks
    from deeptrace.schema import Sample

    # Row by row, not grouped: grouping refuses a video that stands in two splits before it could be listed.
    rows = [Sample(video_id=row.video_id, path=row.path, source=row.source, split=row.split) for row in iter_rows(path)]
    found = find_leaks(rows, sources=sources)
    for leak in found:
        if json_output:
            typer.echo(json.dumps(asdict(leak), ensure_ascii=False))
            continue
        videos = "" if leak.kind == "video" else f" ({plural(len(leak.videos), 'video')})"
        typer.echo(f"{leak.kind} {printable(leak.value)} is in {' and '.join(leak.splits)}{videos}")
    if found:
        note(f"{plural(len(found), 'leak')} in {plural(len(rows), 'row')}: split anew with deeptrace data split")
        raise typer.Exit(EXIT_FAILED_INPUTS)
    note(f"no leaks in {plural(len(rows), 'row')}")


@data.command("export")
def export_command(
    path: DataPath,
    to: Annotated[ExportFormat, typer.Option(help="Format to write.")],
    out: Annotated[
        Path,
        typer.Option(
            metavar="PATH", help="The file; a folder for `hub`, `lmms-eval` and the annotation tools but `coco`."
        ),
    ],
    split_name: Annotated[str | None, typer.Option("--split", help="Only this split. [default: all]")] = None,
    root: Annotated[
        str | None, typer.Option(metavar="DIR_OR_URL", help="Where the other program finds the videos.")
    ] = None,
    form: Annotated[
        FormName | None,
        typer.Option(help="Wording of questions. [default: fine-tuning; zero-shot for the evaluation kits]"),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A part of the answer not to ask for: box, time or explanation; may be repeated."),
    ] = None,
    per: Annotated[str, typer.Option(help="One conversation per `row`, as in the paper, or `video`.")] = "row",
) -> None:
    """Write a dataset for another program, and say what its format cannot hold.

    Example: `deeptrace data export RewardData/ --to coco --out traces.json`.
    """
    from deeptrace.data import exporters, read_reward_data, write_reward_data
    from deeptrace.prompts import FINE_TUNING, JSON, ZERO_SHOT

    samples = read_reward_data(path, split=split_name)
    if per not in ("row", "video"):
        raise SettingsError(f"--per {per}", "expected row or video")
    named = {FormName.FINE_TUNING: FINE_TUNING, FormName.ZERO_SHOT: ZERO_SHOT, FormName.JSON: JSON}
    kits = {ExportFormat.VLMEVALKIT: exporters.write_vlmevalkit, ExportFormat.LMMS_EVAL: exporters.write_lmms_eval}
    asked = named[form or (FormName.ZERO_SHOT if to in kits else FormName.FINE_TUNING)]
    try:
        asked = asked.without(*(without or ()))
    except ValueError as error:
        raise SettingsError("--without", str(error)) from error
    if to in _TOOLS:
        _export_to_tool(samples, to, out, root)
        return
    if to in (ExportFormat.JSON, ExportFormat.JSONL, ExportFormat.PARQUET):
        if out.suffix.lower() != f".{to.value}":
            raise SettingsError(f"--out {out}", f"expected a name that ends in .{to.value}")
        count = write_reward_data(samples, out)
    elif to is ExportFormat.HUB:
        count = exporters.write_hub_folder(samples, out)
    elif to in kits:
        count = kits[to](samples, out, form=asked, root=root)
    else:
        count = exporters.write_conversations(
            samples, out, to.value, root=root, form=asked, per="row" if per == "row" else "video"
        )
    note(out, f": {plural(count, 'row')} of {plural(len(samples), 'video')}")


def _export_to_tool(samples: Sequence[Sample], to: ExportFormat, out: Path, root: str | None) -> None:
    """Write for an annotation tool, and say what it cannot hold."""
    from deeptrace.data import exporters

    if to is ExportFormat.CVAT:
        done = exporters.write_cvat(samples, out)
    elif to is ExportFormat.LABEL_STUDIO:
        done = exporters.write_label_studio(samples, out, root=root)
    elif to is ExportFormat.LABELBOX:
        done = exporters.write_labelbox(samples, out)
    elif to is ExportFormat.COCO:
        done = exporters.write_coco(samples, out)
    else:
        done = exporters.write_fiftyone(samples, out, root=root)
    for line in done.notes:
        note(f"warning: {line}")
    left_out = f"; {plural(done.left_out, 'video')} left out" if done.left_out else ""
    note(out, f": {plural(done.videos, 'video')}, {plural(done.traces, 'trace')}{left_out}")


@data.command("import")
def import_command(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="The tool's export or the dataset's file; a folder for cvat, fiftyone, faceforensics and masks.",
        ),
    ],
    source_format: Annotated[ImportFormat, typer.Option("--from", help="Tool or dataset that it is of.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the rows go, in RewardData's format.")],
    rounds: Annotated[
        Path | None,
        typer.Option("--rounds", metavar="FILE", help="Where the marks of every single annotator go (JSON lines)."),
    ] = None,
    media: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The dataset's folder; size, rate and length not stated are read from its videos."
        ),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.01, help="Frame rate of CVAT's videos, when they share one.")
    ] = None,
    folder: Annotated[
        str | None,
        typer.Option(
            help="Where the videos lie, below the dataset's folder. [default: videos; where the dataset's paths lead]"
        ),
    ] = None,
    project: Annotated[str | None, typer.Option(help="Labelbox: project to read, by id or name.")] = None,
    truth: Annotated[
        GroundTruth | None,
        typer.Option("--label", help="Ground truth of all videos. [default: the export's, else FAKE with a trace]"),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Generator or origin of all videos.")] = None,
) -> None:
    """Read annotations of other tools, or a public dataset's. Exit code 1 if any fails.

    Tools: Labelbox, CVAT (for video 1.1), Label Studio, COCO, FiftyOne. What is read of the datasets, and what each
    does not hold, is in docs/data.md.
    """
    from deeptrace.data import importers, write_reward_data, write_rounds
    from deeptrace.schema import Label

    label = Label(truth.value) if truth is not None else None
    ask = None if media is None else (lambda name: _media_of(media / name))
    below = "videos" if folder is None else folder
    if source_format.value in importers.DATASETS:
        place = {} if folder is None else {"folder": folder}
        found = importers.DATASETS[source_format.value](str(path), media=ask, label=label, source=source, **place)
    elif source_format is ImportFormat.LABELBOX:
        found = importers.read_labelbox(path, media=ask, project=project, folder=below, label=label, source=source)
    elif source_format is ImportFormat.CVAT:
        rate = fps if fps is not None or media is None else (lambda name: _rate_of(media / name))
        found = importers.read_cvat(path, fps=rate, folder=below, label=label, source=source)
    elif source_format is ImportFormat.LABEL_STUDIO:
        found = importers.read_label_studio(path, media=ask, folder=below, label=label, source=source)
    elif source_format is ImportFormat.COCO:
        found = importers.read_coco(path, media=ask, folder=below, label=label, source=source)
    else:
        found = importers.read_fiftyone(path, media=ask, folder=below, label=label, source=source)
    for warning in found.warnings:
        note(f"warning: {warning}")
    for error in found.refused:
        note("left out: ", *parts_of(error))
    if not found.samples:
        raise DataError(str(path), "holds no video with annotations", "Is it of the tool or dataset that --from names?")
    write_reward_data(found.samples, out)
    if rounds is not None:
        write_rounds(found.rounds, rounds)
    traces = sum(len(sample.traces) for sample in found.samples)
    note(out, f": {plural(len(found.samples), 'video')}, {plural(traces, 'trace')}")
    if found.refused:
        raise typer.Exit(EXIT_FAILED_INPUTS)


def _media_of(path: Path) -> Media:
    from deeptrace.video import probe

    return probe(path)


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
        raise SettingsError(f"--ratios {text}", "expected numbers, such as 8:1:1") from error
    if not 2 <= len(numbers) <= 3:
        raise SettingsError(f"--ratios {text}", "expected two or three numbers, such as 8:1:1")
    return dict(zip(names if len(numbers) == 3 else ("train", "test"), numbers, strict=True))


def _counts(samples: Sequence[Sample]) -> str:
    counts = Counter((sample.split or "none", str(sample.label or "unknown").lower()) for sample in samples)
    return ", ".join(f"{name} {count} {label}" for (name, label), count in sorted(counts.items()))
