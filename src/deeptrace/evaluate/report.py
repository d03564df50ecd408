"""The report of a run: one HTML page that needs no server, no network and no other file.

Everything in it is either escaped by the template or carried as JSON and written as text by the script: file names and
a model's words are hostile input. A content security policy allows exactly the page's own script and style, by hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined

from deeptrace.errors import SettingsError
from deeptrace.evaluate.detect import Judged
from deeptrace.evaluate.report_media import MAX_CLIP_BYTES, MAX_CLIP_S, MAX_PAGE_BYTES, Proxy, make_proxies
from deeptrace.evaluate.wording import headline, probability, span, trace_line
from deeptrace.trace import DetectorInfo, Label, Trace, Verdict

__all__ = ["write_report"]


def write_report(
    results: Sequence[Judged], path: str | os.PathLike[str], *, on_clip: Callable[[], object] = lambda: None
) -> Path:
    """Write the page for `results` to `path`, whole or not at all.

    Args:
        results: verdicts with their evidence curves.
        path: of the page.
        on_clip: called after each clip is put in, for progress.

    Raises:
        SettingsError: the page cannot be written there.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            file.writelines(_page(results, target.parent, on_clip))
        os.replace(part, target)
    except OSError as error:
        raise SettingsError(str(target), f"the report cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return target


def _page(results: Sequence[Judged], folder: Path, on_clip: Callable[[], object]) -> Iterator[str]:
    """The page in pieces: one clip at a time is held in memory."""
    style, script = _resource("page.css"), _resource("page.js")
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    verdicts = [judged.verdict for judged in results]
    return environment.get_template("page.html").generate(
        style=style,
        script=script,
        policy=_policy(style, script),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        detectors=sorted({_detector_line(verdict.detector) for verdict in verdicts if verdict.detector}),
        counts=_counts(verdicts),
        rows=[_row(verdict) for verdict in verdicts],
        clips=_clips(results, folder, on_clip),
        limits={"clip_mib": MAX_CLIP_BYTES >> 20, "page_mib": MAX_PAGE_BYTES >> 20, "seconds": MAX_CLIP_S},
    )


def _clips(results: Sequence[Judged], folder: Path, on_clip: Callable[[], object]) -> Iterator[str]:
    """One JSON text a clip, safe inside a script element, made when the template asks for it."""
    for judged, proxy in zip(results, make_proxies([judged.verdict for judged in results]), strict=True):
        on_clip()
        yield _script_safe(_clip(judged, proxy, folder))


def _clip(judged: Judged, proxy: Proxy, folder: Path) -> dict[str, Any]:
    """What the script needs to show one clip."""
    verdict = judged.verdict
    media = verdict.media
    return {
        "video": verdict.video,
        "link": _link(verdict.video, folder),
        "headline": headline(verdict),
        "kind": _kind(verdict),
        "probability": probability(verdict),
        "reward": verdict.reward,
        "error": verdict.error,
        "warnings": verdict.warnings,
        "width": media.width if media else 16,
        "height": media.height if media else 9,
        "fps": media.fps if media else None,
        "start_s": proxy.start_s,
        "end_s": proxy.end_s or (media.duration_s if media else 0.0),
        "mp4": base64.b64encode(proxy.data).decode() if proxy.data else None,
        "note": proxy.note,
        "traces": [_trace(trace) for trace in verdict.traces],
        "curves": judged.curves,
    }


def _trace(trace: Trace) -> dict[str, Any]:
    return {
        "line": trace_line(trace),
        "category": trace.categories[0].value if trace.categories else "none",
        "name": trace.categories[0].display_name if trace.categories else "Trace",
        "score": trace.score,
        "span": span(trace),
        "onset_s": trace.onset_s,
        "offset_s": trace.offset_s,
        "keys": _keys(trace),
        "explanation": trace.explanation,
    }


def _keys(trace: Trace) -> list[list[float]]:
    """Time and corners of each keyframe; a box without keyframes stands still."""
    if trace.keyframes:
        return [[key.time_s, *key.box.as_tuple()] for key in trace.keyframes]
    return [[trace.onset_s or 0.0, *trace.box.as_tuple()]] if trace.box is not None else []


def _row(verdict: Verdict) -> dict[str, Any]:
    """A line of the table, which the template writes and the script sorts."""
    first = verdict.traces[0] if verdict.traces else None
    return {
        "video": verdict.video,
        "headline": headline(verdict),
        "kind": _kind(verdict),
        "probability": probability(verdict) or "–",
        "p_fake": -1.0 if verdict.p_fake is None else verdict.p_fake,
        "traces": len(verdict.traces),
        "first": verdict.error or (trace_line(first) if first else "no trace found"),
        "duration": verdict.media.duration_s if verdict.media else 0.0,
    }


def _kind(verdict: Verdict) -> str:
    if verdict.label is None:
        return "failed"
    return "fake" if verdict.label is Label.FAKE else "real"


def _counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    kinds = [_kind(verdict) for verdict in verdicts]
    return {kind: kinds.count(kind) for kind in ("fake", "real", "failed")}


def _detector_line(info: DetectorInfo) -> str:
    """Name, version and the settings that are one value; the rest is in every verdict."""
    plain = {key: value for key, value in info.settings.items() if isinstance(value, (bool, int, float, str))}
    settings = ", ".join(f"{key} {value}" for key, value in plain.items())
    return f"{info.name} version {info.version}" + (f" ({settings})" if settings else "")


def _link(video: str, folder: Path) -> str:
    """Where the original is, as an address that can only ever be a file below or beside the page, or http(s)."""
    if video.startswith(("http://", "https://")):
        return quote(video, safe=":/?&=%#@+,;")
    if "://" in video:
        return ""
    return quote(os.path.relpath(os.path.abspath(video), os.path.abspath(folder)).replace(os.sep, "/"), safe="/")


def _script_safe(value: Any) -> str:
    """JSON that cannot end the script element it stands in, nor open a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(style: str, script: str) -> str:
    """A content security policy for exactly this style and script."""

    def hashed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {hashed(script)}; style-src {hashed(style)}; media-src blob:; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _resource(name: str) -> str:
    return (files("deeptrace.evaluate") / "report_page" / name).read_text(encoding="utf-8")
