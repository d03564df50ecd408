"""`deeptrace train`: train the detectors."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeptrace.cli.console import LiveLine, Whole, interrupted, note, printable
from deeptrace.cli.options import Backbone
from deeptrace.errors import MissingExtraError, SettingsError
from deeptrace.plural import plural

if TYPE_CHECKING:
    from deeptrace.train.dry_run import DryRun
    from deeptrace.train.grpo.config import GrpoConfig
    from deeptrace.train.sft.config import SftConfig
    from deeptrace.train.sft.run import Trained

__all__ = ["train"]

train = typer.Typer(help="Train detectors.", no_args_is_help=True)

SftFile = Annotated[Path | None, typer.Argument(metavar="CONFIG", help="JSON file; `examples/sft_*.json` are recipes.")]
GrpoFile = Annotated[
    Path | None, typer.Argument(metavar="CONFIG", help="JSON file; `examples/grpo_*.json` are recipes.")
]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Write here instead of the config's folder.")]
LogTo = Annotated[
    list[str] | None,
    typer.Option(metavar="TRACKER", help="Send figures to tensorboard or wandb, too; may be repeated."),
]
DryRunOnly = Annotated[
    bool, typer.Option("--dry-run", help="Only say what it would take: rows, tokens, steps, memory.")
]
Tiny = Annotated[
    bool, typer.Option("--tiny", help="Try it without a config: a tiny random model, the example clips, a minute.")
]


@train.callback()
def _group() -> None:
    """Train detectors."""


@train.command()
def tracenet(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="JSON file; examples/tracenet.json made the shipped one.")
    ],
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Use this data instead of the config's.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write here instead of the config's folder.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Number of processes, instead of the config's.")] = None,
    appearance: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read appearance off this image encoder, an ONNX file.")
    ] = None,
) -> None:
    """Train TraceNet: measure the clips, cross-fit, calibrate, fit on everything, export.

    Run it again after an interruption: what is done is not done twice.
    """
    from deeptrace.train.tracenet.config import TraceNetConfig

    _check_installed("train tracenet", "train", "torch")
    with _training() as show:
        settings = TraceNetConfig.read(
            config, **_given(data=data, out=out, workers=workers, appearance=appearance and str(appearance))
        )
        show("loading torch")
        from deeptrace.train.tracenet.run import train_tracenet

        folder = train_tracenet(settings, show)
    note("the model and its card are in ", folder)
    note("use it with: deeptrace detect --detector ", Whole(f"tracenet:{folder}"), " CLIP")


@train.command()
def baseline(
    data: Annotated[list[Path], typer.Option(metavar="DIR", help="RewardData folder to learn from; may be repeated.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Baselines, as npr or stall; all when none is named."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write the weights and what was measured here.")] = Path(
        "deeptrace-out/baselines"
    ),
    edited: Annotated[
        str, typer.Option(metavar="NAME", help="Folder of matched pairs below each DIR; '' for none.")
    ] = "matched",
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that measure.")] = 1,
    backbone: Backbone = None,
) -> None:
    """Train baselines of the field on the same clips as TraceNet: each small, after its paper.

    Example: `deeptrace train baseline npr stall --data corpus`.

    Clips are decoded once for all of them. Run it again after an interruption: what is measured is kept.
    `deeptrace compare-detectors` says what they are worth on clips that they did not learn from.
    """
    _check_installed("train baseline", "train", "sklearn")
    with _training() as show:
        from deeptrace.train.baselines.run import train_baselines

        found = train_baselines(
            names or [], data, out, show, edited=edited, seed=seed, workers=workers, backbone=backbone
        )
    for line in found.problems:
        note("left out: ", Whole(line))
    more = "" if backbone is None else f" --set backbone={backbone}"
    for name, path in found.files.items():
        note("use it with: deeptrace detect --detector ", Whole(f"baseline:{name} --set weights={path}{more}"), " CLIP")


@train.command()
def autoencoder(
    data: Annotated[list[Path], typer.Option(metavar="DIR", help="RewardData folder to learn from; may be repeated.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write this ONNX file.")] = Path(
        "deeptrace-out/autoencoder.onnx"
    ),
    clips: Annotated[int, typer.Option(min=2, help="Most real clips that are looked at.")] = 200,
    steps: Annotated[int, typer.Option(min=1, help="Steps of training.")] = 1500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
) -> None:
    """Train a small autoencoder on the real clips of your data, for the laundering part of `deeptrace robustness`.

    Example: `deeptrace train autoencoder --data corpus`. It takes some minutes of one core.
    """
    _check_installed("train autoencoder", "train", "torch", "onnxscript")
    if out.is_dir():
        raise SettingsError(f"--out {out}", "is a folder", "Name the ONNX file to write.")
    with _training() as show:
        show("loading torch")
        from deeptrace.train.autoencoder import train_autoencoder

        made = train_autoencoder(data, out, show, most_clips=clips, steps=steps, seed=seed)
    note(f"{plural(made.clips, 'clip')} learned from, {made.psnr_db:.1f} dB on others")
    note("use it with: deeptrace robustness laundering --autoencoder ", made.path)


@train.command()
def sft(
    config: SftFile = None,
    out: Out = None,
    log_to: LogTo = None,
    dry_run: DryRunOnly = False,
    tiny: Tiny = False,
) -> None:
    """Fine-tune a video language model on RewardData: train, measure, choose the best, calibrate, export.

    Run it again after an interruption: it goes on from its last checkpoint. Several GPUs or machines:
    `torchrun --nproc-per-node 8 -m deeptrace.cli.main train sft CONFIG`.
    """
    _check_installed("train sft", "mllm", "torch", "transformers", "accelerate")
    _check_given(config, log_to or (), tiny=tiny, dry_run=dry_run)
    with _training() as show:
        from deeptrace.train.sft.config import SftConfig

        if tiny:
            settings = SftConfig.tiny(out or _TINY_OUT / "tiny_sft", **_given(log_to=log_to))
        else:
            settings = SftConfig.checked(str(config), offline=dry_run, **_given(out=out, log_to=log_to))
        _load_libraries(show, threads=1 if tiny else None)
        planned = _planned(settings, show) if dry_run else None
        if planned is None:
            trained = _sft(settings, show, tiny=tiny)
    if planned is not None:
        _show_plan(settings, planned)
        return
    if not _first():
        return
    for path, why in trained.unusable.items():
        note("left out: ", Whole(path), f": {why}")
    if trained.folder is None:
        done, steps = trained.steps
        interrupted(f"{done} of {plural(steps, 'step')} kept; run the same command to go on")
    _say_where(trained.folder, tiny=tiny)


@train.command()
def grpo(
    config: GrpoFile = None,
    out: Out = None,
    log_to: LogTo = None,
    dry_run: DryRunOnly = False,
    tiny: Tiny = False,
) -> None:
    """Train a video language model further, with rewards that compare its answers with annotated traces.

    Run it again after an interruption: it goes on from its last state. Several GPUs or machines:
    `torchrun --nproc-per-node 8 -m deeptrace.cli.main train grpo CONFIG`.
    """
    _check_installed("train grpo", "mllm", "torch", "transformers", "accelerate")
    _check_given(config, log_to or (), tiny=tiny, dry_run=dry_run)
    base = _taught(out or _TINY_OUT / "tiny_grpo") if tiny else None
    with _training() as show:
        from deeptrace.train.grpo.config import GrpoConfig

        if base is not None:
            settings = GrpoConfig.tiny(base, out or _TINY_OUT / "tiny_grpo", **_given(log_to=log_to))
        else:
            settings = GrpoConfig.checked(str(config), offline=dry_run, **_given(out=out, log_to=log_to))
        _load_libraries(show, threads=1 if tiny else None)
        planned = _planned(settings, show) if dry_run else None
        if planned is None:
            from deeptrace.train.grpo.run import train_grpo

            folder = train_grpo(settings, show)
    if planned is not None:
        _show_plan(settings, planned)
    elif _first():
        _say_where(folder, tiny=tiny)


_TINY_OUT = Path("deeptrace-out")


def _check_given(config: Path | None, log_to: Iterable[str], *, tiny: bool, dry_run: bool) -> None:
    """Raise where the options do not go together; a dry run asks no hub from here on."""
    if tiny and (config is not None or dry_run):
        raise SettingsError("--tiny", "has a config of its own, and takes seconds", "Leave CONFIG and --dry-run out.")
    if not tiny and config is None:
        raise SettingsError("CONFIG", "is missing", "Name a JSON file as examples/sft_*.json, or try it with --tiny.")
    for tracker in log_to:
        if tracker in ("tensorboard", "wandb"):
            _check_installed(f"log_to {tracker}", tracker, tracker)
    if dry_run:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is first imported


def _load_libraries(show: LiveLine, *, threads: int | None = None) -> None:
    """Import what takes long, with a line that says so; transformers' own bars would write over it."""
    show("loading torch and transformers")
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    if threads is not None:  # more only get in each other's way with a tiny model
        torch.set_num_threads(threads)


def _sft(settings: SftConfig, show: LiveLine, *, tiny: bool) -> Trained:
    """Fine-tune; a tiny base is made first."""
    from deeptrace.train.sft.run import train_sft

    if tiny:
        from deeptrace.train.vlm.tiny import make_tiny_model

        make_tiny_model(Path(settings.model.base))
    return train_sft(settings, show)


def _taught(out: Path) -> Path:
    """A tiny model that a tiny fine-tuning has taught to answer, in `out`/taught; with a line of its own."""
    with _training() as show:
        from deeptrace.train.sft.config import SftConfig

        settings = SftConfig.tiny(out / "taught", evaluate=False)
        _load_libraries(show, threads=1)
        trained = _sft(settings, show, tiny=True)
    if trained.folder is None:
        interrupted("run the same command to go on")
    note("a tiny model that answers is in ", trained.folder)
    note("now with rewards")
    return trained.folder


def _planned(settings: SftConfig | GrpoConfig, show: LiveLine) -> DryRun:
    from deeptrace.train.dry_run import dry_run

    return dry_run(settings, show)


def _show_plan(settings: SftConfig | GrpoConfig, plan: DryRun) -> None:
    """What a training would take, on stdout, in at most 80 columns."""
    row = "{:<30.30} {:<10.10} {:>6} {:>6} {:>6} {:>6} {:>8}".format
    lines = [row("data", "split", "clips", "fake", "real", "rows", "missing")]
    for part in plan.splits:
        name = part.path if len(part.path) <= 30 else f"...{part.path[-27:]}"
        counts = (part.clips, part.fake, part.real, part.rows, part.missing)
        lines.append(row(name, part.split if part.role == "train" else f"{part.split} (val)", *counts))
    lines.append("")
    if plan.tokens is not None:
        lines.append("tokens a row  min {}, median {}, max {}".format(*plan.tokens))
    lines.append(f"steps         {'not known' if plan.steps is None else plan.steps}")
    if plan.weights is not None:
        lines.append("weights       {:,}; {:,} learn".format(*plan.weights))
    if plan.memory:
        parts = ", ".join(f"{name} {_size(size)}" for name, size in plan.memory.items())
        lines += [f"memory        {_size(sum(plan.memory.values()))} a process", f"              {parts}"]
    lines.append(f"writes to     {settings.out} ({'goes on with what is there' if settings.out.exists() else 'new'})")
    lines += plan.notes
    lines.append("Nothing was written or asked of a network. Tokens and memory are estimates.")
    typer.echo("\n".join(map(printable, lines)))


def _size(gib: float) -> str:
    return f"{gib:.1f} GiB" if gib >= 1 else f"{gib * 1024:.0f} MiB"


def _say_where(folder: Path, *, tiny: bool) -> None:
    note("the model and its card are in ", folder)
    note("use it with: deeptrace detect --detector ", Whole(f"hf:{folder}"), " CLIP")
    if tiny:
        note("tiny, and two clips by heart: it shows that training runs here, no more")


def _check_installed(feature: str, extra: str, *modules: str) -> None:
    if any(importlib.util.find_spec(name) is None for name in modules):
        raise MissingExtraError(feature, extra)


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given; they override the config's."""
    return {name: value for name, value in options.items() if value is not None}


def _first() -> bool:
    """Whether this process is the one, of those that torchrun started, that prints."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _training() -> Iterator[LiveLine]:
    """The live line of a training, and its last word when Ctrl-C ends it."""
    try:
        with LiveLine(quiet=not _first()) as line:
            line("checking config and data")
            yield line
    except KeyboardInterrupt:
        interrupted("run the same command to go on")
