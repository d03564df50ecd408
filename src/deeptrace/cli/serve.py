"""`deeptrace serve`: rewards over HTTP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptrace.cli.terminal import note, parse_settings

if TYPE_CHECKING:
    from deeptrace.studio.serve.app import ScoreApi

__all__ = ["serve"]

_MIB = 1 << 20


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for a free one.")] = 8000,
    detector: Annotated[str, typer.Option(help="See `deeptrace detectors`.")] = "tracenet",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the detector; may be repeated.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Scoring processes.")] = 1,
    max_queue: Annotated[int, typer.Option(min=1, help="Clips that may wait; beyond it callers get 429.")] = 64,
    max_batch: Annotated[int, typer.Option(min=1, help="Clips handed to a worker at once.")] = 4,
    batch_wait_ms: Annotated[float, typer.Option(min=0, help="How long a free worker waits for more.")] = 5.0,
    root: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="A folder whose files may be named; may be repeated.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST[:PORT]", help="A host, or *.DOMAIN, to fetch URLs from; may be repeated."),
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Those hosts may have addresses of the local network.")
    ] = False,
    api_keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One key a line. [default: $DEEPTRACE_SERVE_KEYS]")
    ] = None,
    open_to_all: Annotated[
        bool, typer.Option("--open-to-all", help="Listen beyond this machine without keys.")
    ] = False,
    max_mb: Annotated[float, typer.Option(min=0.001, help="Of one clip.")] = 256,
    max_pixels: Annotated[int, typer.Option(min=1, help="Of a frame.")] = 4096 * 2304,
    max_frames: Annotated[int, typer.Option(min=1, help="Of a clip.")] = 20_000,
    max_seconds: Annotated[float, typer.Option(min=0.001, help="Of a clip.")] = 600,
    clip_timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Longest work on a clip.")] = 60,
    clip_memory_mb: Annotated[int, typer.Option(min=64, help="What work on a clip may ask for.")] = 2048,
    deadline: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Longest time for a request.")] = 300,
    drain: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long a stop waits.")] = 60,
    fps: Annotated[
        float | None, typer.Option(help="Of clips that come as images without a rate (Flow-Factory).")
    ] = None,
    failed: Annotated[
        float | None, typer.Option(help="What Flow-Factory gets for a clip without a reward. [default: an error]")
    ] = None,
    spool: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where clips lie meanwhile. [default: the system's]")
    ] = None,
) -> None:
    """Answer requests for rewards until SIGTERM or Ctrl-C, then finish what was begun.

    Keys are read from --api-keys or the variable DEEPTRACE_SERVE_KEYS; without any, only this machine may ask.
    """
    from deeptrace.studio.serve import Limits, ServeSettings
    from deeptrace.studio.serve.keys import read_keys
    from deeptrace.studio.serve.run import serve as run

    limits = Limits(
        clip_bytes=round(max_mb * _MIB),
        request_bytes=max(Limits.request_bytes, round(2 * max_mb * _MIB)),
        body_bytes=max(Limits.body_bytes, round(4 * max_mb * _MIB)),
        pixels=max_pixels,
        frames=max_frames,
        duration_s=max_seconds,
        clip_s=clip_timeout,
        memory_bytes=clip_memory_mb * _MIB,
        deadline_s=deadline,
    )
    chosen = ServeSettings(
        detector=detector,
        detector_settings=parse_settings(settings or []),
        workers=workers,
        max_queue=max_queue,
        max_batch=max_batch,
        batch_wait_s=batch_wait_ms / 1000,
        roots=tuple(str(folder) for folder in root or ()),
        hosts=tuple(allow_host or ()),
        private_addresses=allow_private,
        keys=read_keys(api_keys),
        limits=limits,
        frames_fps=fps,
        failed=failed,
        drain_s=drain,
        spool_dir=None if spool is None else str(spool),
    )
    run(chosen, host=host, port=port, open_to_all=open_to_all, on_ready=_announce)


def _announce(url: str, api: ScoreApi) -> None:
    info = api.scorer.info
    guarded = "with keys" if api.settings.keys else "without keys"
    note(f"serving {info.name if info else ''} at {url} ({guarded}); {url}/openapi.json says how to ask")
    sys.stderr.flush()
