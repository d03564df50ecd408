"""The report of a run: one HTML page that needs no server, no network and no other file.

Everything in it is either escaped by the template or carried as JSON and written as text by the script: file names and
a model's words are hostile input. A content security policy allows exactly the page's own script and style, by hash.

Clips come in the order of their p, highest first, those without a verdict last, and the page opens at the strongest
trace of the first.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined

from deeptrace.detectors import Analysis, EvidenceCurves
from deeptrace.detectors.curves import CHANCE, camera_range, camera_ranges
from deeptrace.errors import SettingsError
from deeptrace.geometry import Box
from deeptrace.io.atomic import atomic_path
from deeptrace.reports.detection_clips import MAX_CLIP_S, Budget, ShownClip, alive, show_clips
from deeptrace.reports.wording import headline, probability, span, trace_line
from deeptrace.schema import CAVEAT, DetectorInfo, Label, Trace, Verdict

__all__ = ["write_report"]


def write_report(
    results: Sequence[Analysis],
    path: str | os.PathLike[str],
    *,
    addresses: Mapping[str, str] | None = None,
    on_clip: Callable[[], object] = lambda: None,
) -> Path:
    """Write the page for `results` to `path`, whole or not at all.

    Args:
        results: verdicts with their evidence curves.
        path: of the page.
        addresses: where a clip is to be read from, by the `video` of its verdict, which is a URL without its
            signature; the rest is read from where the verdict says.
        on_clip: called after each clip is put in, for progress.

    Raises:
        SettingsError: the page cannot be written there.
    """
    target = Path(path)
    try:
        with atomic_path(target, error=SettingsError) as scratch, open(scratch, "w", encoding="utf-8") as file:
            file.writelines(_page(results, target.parent, addresses or {}, on_clip))
    except OSError as error:
        raise SettingsError(str(target), f"the report cannot be written: {error.strerror}") from error
    return target


def _page(
    results: Sequence[Analysis], folder: Path, addresses: Mapping[str, str], on_clip: Callable[[], object]
) -> Iterator[str]:
    """The page in pieces: one clip at a time is held in memory."""
    style, script = _resource("page.css"), _resource("page.js")
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    now = datetime.now(UTC)
    results = sorted(results, key=_place)
    verdicts = [found.verdict for found in results]
    return environment.get_template("page.html").generate(
        style=style,
        script=script,
        policy=_policy(style, script),
        made=f"{now.day} {now:%B %Y, %H:%M} UTC",
        detectors=_detectors(verdicts),
        counts=_counts(verdicts),
        rows=[_row(verdict) for verdict in verdicts],
        clips=_clips(results, folder, addresses, on_clip),
        caveat=CAVEAT,
        camera_clips=camera_ranges().clips,
        limits={"page_mb": Budget(len(results)).total / 1e6, "seconds": MAX_CLIP_S},
    )


def _place(found: Analysis) -> tuple[bool, float]:
    """Where a clip stands in the list: p from high to low, then what has none.

    A label without a p stands for a sure one.
    """
    verdict = found.verdict
    if verdict.label is None:
        return True, 0.0
    return False, -(float(verdict.label is Label.FAKE) if verdict.p_fake is None else verdict.p_fake)


def _clips(
    results: Sequence[Analysis], folder: Path, addresses: Mapping[str, str], on_clip: Callable[[], object]
) -> Iterator[dict[str, str]]:
    """Of each clip two JSON texts, safe inside a script element, made when the template asks for them."""
    shown = show_clips([found.verdict for found in results], addresses=addresses)
    for found, clip in zip(results, shown, strict=True):
        on_clip()
        yield {"data": _script_safe(_clip(found, clip, folder)), "still": _script_safe(_still(found.verdict, clip))}


def _still(verdict: Verdict, clip: ShownClip) -> dict[str, Any] | None:
    """The picture in the list, with the strongest trace's box."""
    if clip.still is None:
        return None
    trace = _trace(verdict.traces[0], clip) if verdict.traces else None
    return {"jpeg": base64.b64encode(clip.still).decode(), "at_s": _short(clip.moment_s), "trace": trace}


def _clip(found: Analysis, clip: ShownClip, folder: Path) -> dict[str, Any]:
    """What the script needs to show one clip."""
    verdict = found.verdict
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
        "credentials": verdict.content_credentials.summary if verdict.content_credentials else "",
        "width": media.width if media else 16,
        "height": media.height if media else 9,
        "fps": media.fps if media else None,
        "times_s": [_short(time_s) for time_s in clip.times_s],
        "start_s": _short(clip.times_s[0]) if clip.times_s else 0.0,
        "end_s": _short(clip.end_s or (media.duration_s if media else 0.0)),
        "at_s": _short(clip.moment_s),
        "mp4": base64.b64encode(clip.mp4).decode() if clip.mp4 else None,
        "note": clip.note,
        "traces": [_trace(trace, clip) for trace in verdict.traces],
        "curves": _curves(found.curves, verdict.detector),
    }


def _trace(trace: Trace, clip: ShownClip) -> dict[str, Any]:
    return {
        "line": trace_line(trace),
        "category": trace.categories[0].value if trace.categories else "none",
        "name": trace.categories[0].display_name if trace.categories else "Trace",
        "score": None if trace.score is None else round(trace.score, 4),
        "weak": trace.weak,
        "span": span(trace),
        "onset_s": None if trace.onset_s is None else _short(trace.onset_s),
        "offset_s": None if trace.offset_s is None else _short(trace.offset_s),
        "shown": not clip.times_s or any(alive(trace, time_s) for time_s in clip.times_s),
        "keys": _keys(trace),
        "gaps": [[_short(gap.onset_s), _short(gap.offset_s)] for gap in trace.gaps],
        "explanation": trace.explanation,
    }


def _keys(trace: Trace) -> list[list[float]]:
    """Time and corners of each keyframe; a box without keyframes stands still."""
    if trace.keyframes:
        return [[_short(key.time_s), *_corners(key.box)] for key in trace.keyframes]
    return [[_short(trace.onset_s or 0.0), *_corners(trace.box)]] if trace.box is not None else []


def _corners(box: Box) -> list[float]:
    return [round(corner, 5) for corner in box.as_tuple()]


def _short(time_s: float) -> float:
    """A time to the hundredth of a millisecond: what is in the page is to be small."""
    return round(time_s, 5)


def _curves(curves: EvidenceCurves, detector: DetectorInfo | None) -> list[dict[str, Any]]:
    """What is plotted, with the range of camera footage and the ends of the axis where they are known."""
    return [
        {
            "name": name,
            "points": [[round(at, 3), float(f"{value:.4g}")] for at, value in points],
            "range": camera_range(name, detector),
            "axis": (0.0, 1.0) if name == CHANCE else None,
        }
        for name, points in curves.items()
    ]


def _row(verdict: Verdict) -> dict[str, Any]:
    """A line of the list, which the template writes and the script sorts."""
    first = verdict.traces[0] if verdict.traces else None
    return {
        "video": verdict.video,
        "name": verdict.video.rstrip("/").rpartition("/")[2] or verdict.video,
        "headline": headline(verdict),
        "kind": _kind(verdict),
        "p": None if verdict.p_fake is None else f"{verdict.p_fake:.2f}",
        "traces": len(verdict.traces),
        "first": verdict.error or (trace_line(first) if first else "no trace found"),
        "duration": verdict.media.duration_s if verdict.media else 0.0,
    }


def _kind(verdict: Verdict) -> str:
    return "failed" if verdict.decision is None else str(verdict.decision)


def _counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    kinds = [_kind(verdict) for verdict in verdicts]
    return {kind: kinds.count(kind) for kind in ("generated", "unclear", "real", "failed")}


def _detectors(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """The detectors that were asked, with their settings as text; usually one."""
    found: dict[str, dict[str, Any]] = {}
    for info in (verdict.detector for verdict in verdicts):
        if info is not None:
            settings = {name: json.dumps(value) for name, value in info.settings.items()}
            line = {"name": info.name, "version": info.version, "limits": info.thresholds, "settings": settings}
            found.setdefault(json.dumps(line, sort_keys=True), line)
    return list(found.values())


def _link(video: str, folder: Path) -> str:
    """Where the original is, as an address that can only ever be a file below or beside the page, or http(s)."""
    if video.startswith(("http://", "https://")):
        return quote(video, safe=":/?&=%#@+,;")
    if "://" in video:
        return ""
    return quote(os.path.relpath(os.path.abspath(video), os.path.abspath(folder)).replace(os.sep, "/"), safe="/")


def _script_safe(value: Any) -> str:
    """JSON that cannot end the script element it stands in, nor open a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
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
    return (files("deeptrace.reports") / "detection_page" / name).read_text(encoding="utf-8")
