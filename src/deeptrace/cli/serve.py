"""`deeptrace serve`: rewards over HTTP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptrace.cli.console import note, parse_settings
from deeptrace.cli.options import DetectorName, DetectorSettings, Workers

if TYPE_CHECKING:
    from deeptrace.server.app import ScoreApi

__all__ = ["serve"]

_MIB = 1 << 20


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for a free one.")] = 8000,
    detector: DetectorName = "tracenet",
    settings: DetectorSettings = None,
    workers: Workers = None,
    max_queue: Annotated[
        int, typer.Option(min=1, help="Most clips that wait; further requests are told to try again (status 429).")
    ] = 64,
    root: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="A folder whose files a request may name, by a path in it or a full one; may be repeated.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST[:PORT]", help="A host, or *.DOMAIN, to fetch URLs from; may be repeated."),
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Allow those hosts to have addresses of the local network.")
    ] = False,
    api_keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keys that callers need, one a line. [default: those in DEEPTRACE_SERVE_KEYS]"
        ),
    ] = None,
    open_to_all: Annotated[
        bool, typer.Option("--open-to-all", help="Answer other machines without keys, too.")
    ] = False,
    max_mb: Annotated[float, typer.Option(min=0.001, help="Largest clip, in MiB.")] = 256,
    max_pixels: Annotated[int, typer.Option(min=1, help="Most pixels of a frame.")] = 4096 * 2304,
    max_frames: Annotated[int, typer.Option(min=1, help="Most frames of a clip.")] = 20_000,
    max_seconds: Annotated[float, typer.Option(min=0.001, help="Longest clip, in seconds.")] = 600,
    clip_timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="Longest time for one clip; shorter than elsewhere, because somebody waits.",
        ),
    ] = 60,
    clip_memory_mb: Annotated[int, typer.Option(min=64, help="Memory limit for a clip, in MiB.")] = 2048,
    deadline: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Longest time for a request.")] = 300,
    drain: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="How long a stop waits for requests that are being answered."),
    ] = 60,
    fps: Annotated[float | None, typer.Option(help="Frame rate of clips that come as images (Flow-Factory).")] = None,
    failed: Annotated[
        float | None, typer.Option(help="What Flow-Factory gets for a clip without a reward. [default: an error]")
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for clips that are being scored. [default: the system's for temporary files]"
        ),
    ] = None,
) -> None:
    """Give rewards over HTTP, until Ctrl-C or SIGTERM; what was begun is finished first.

    Example: `deeptrace serve --root /data/clips`; then POST `{"clips": [{"path": "a.mp4"}]}` to `/v1/score`.

    Keys are read from --api-keys or the variable DEEPTRACE_SERVE_KEYS; without any, only this machine may ask.
    """
    from deeptrace.inference.executor import cores
    from deeptrace.server import Limits, ServeSettings
    from deeptrace.server.auth import read_keys
    from deeptrace.server.run import serve as run

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
        workers=workers or cores(),
        max_queue=max_queue,
        roots=tuple(str(folder) for folder in root or ()),
        hosts=tuple(allow_host or ()),
        private_addresses=allow_private,
        keys=read_keys(api_keys),
        limits=limits,
        frames_fps=fps,
        failed=failed,
        drain_s=drain,
        scratch_dir=None if scratch is None else str(scratch),
    )
    run(chosen, host=host, port=port, open_to_all=open_to_all, on_ready=_announce)


def _announce(url: str, api: ScoreApi) -> None:
    info = api.scorer.info
    guarded = "with keys" if api.settings.keys else "without keys"
    note(f"serving {info.name if info else ''} at {url} ({guarded})")
    note(f"the API is described at {url}/openapi.json")
    sys.stderr.flush()
