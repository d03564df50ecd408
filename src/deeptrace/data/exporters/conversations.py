"""Samples as conversations for fine-tuning: question and answer in the protocol's own words, in three layouts.

- `messages`: ours, and what the chat templates of transformers read: JSON lines, content as typed parts.
- `llamafactory`: LLaMA-Factory's sharegpt layout with a `videos` column, and the `dataset_info.json` that names it.
- `swift`: ms-swift's standard JSON lines (`messages` and `videos`), for `swift sft --dataset FILE`.

The paper trains on one conversation a row (a trace of a generated video, or a real video); `per="video"` names all
traces of a video in one answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from deeptrace.data.media_join import resolve_path
from deeptrace.errors import DataError, SettingsError
from deeptrace.io import jsonl
from deeptrace.io.atomic import atomic_path
from deeptrace.prompts import FINE_TUNING, AnswerForm, View, question, write_answer
from deeptrace.schema import Sample, Trace

__all__ = ["CONVERSATION_LAYOUTS", "Per", "conversations", "turns", "write_conversations"]

Per = Literal["row", "video"]
VIDEO_MARK = "<video>"


def turns(sample: Sample, *, form: AnswerForm = FINE_TUNING, per: Per = "row") -> list[tuple[str, str]]:
    """(question without the video mark, answer) of a sample: one a trace, or one for the video.

    Raises:
        DataError: the sample has no label, or a box in pixels and no stated frame size.
    """
    if sample.label is None:
        raise DataError(f"video {sample.video_id}", "has no label to train on")
    asked = question(form).replace(VIDEO_MARK, "").strip()
    groups: list[tuple[Trace, ...]] = [sample.traces]
    if per == "row" and sample.traces:
        groups = [(trace,) for trace in sample.traces]
    try:
        return [(asked, write_answer(sample.label, group, form=form, view=View.of(sample.media))) for group in groups]
    except (SettingsError, ValueError) as error:
        raise DataError(f"video {sample.video_id}", str(error)) from error


def conversations(
    samples: Iterable[Sample],
    layout: str,
    *,
    root: str | os.PathLike[str] | None = None,
    form: AnswerForm = FINE_TUNING,
    per: Per = "row",
) -> Iterator[dict[str, Any]]:
    """Conversations in one of `CONVERSATION_LAYOUTS`.

    Args:
        samples: with labels.
        layout: its name.
        root: the dataset's folder, put before relative paths; None leaves them relative.
        form: what is asked and how it is answered.
        per: one conversation a "row" or a "video".

    Raises:
        SettingsError: no such layout.
        DataError: as `turns`.
    """
    if layout not in CONVERSATION_LAYOUTS:
        raise SettingsError("layout", f"expected one of {', '.join(CONVERSATION_LAYOUTS)} but got {layout!r}")
    lay = CONVERSATION_LAYOUTS[layout]
    for sample in samples:
        path = sample.path if root is None else resolve_path(sample, root)
        for asked, answer in turns(sample, form=form, per=per):
            yield lay(sample, path, asked, answer)


def write_conversations(
    samples: Iterable[Sample],
    path: str | os.PathLike[str],
    layout: str,
    *,
    root: str | os.PathLike[str] | None = None,
    form: AnswerForm = FINE_TUNING,
    per: Per = "row",
) -> int:
    """Write conversations and return how many.

    `llamafactory` is a JSON list; the file's entry is added to the `dataset_info.json` beside it, under the file's
    stem. The other layouts are JSON lines.
    """
    found = conversations(samples, layout, root=root, form=form, per=per)
    if layout != "llamafactory":
        return jsonl.write_lines(found, path)
    count = jsonl.write_list(found, path)
    _register(Path(path))
    return count


def _register(path: Path) -> None:
    """Name the file in LLaMA-Factory's registry beside it; other entries stay."""
    info = path.parent / "dataset_info.json"
    entries: dict[str, Any] = {}
    if info.is_file():
        try:
            entries = json.loads(info.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(str(info), f"not JSON: {error}") from error
    entries[path.stem] = {
        "file_name": path.name,
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "videos": "videos"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    }
    with atomic_path(info) as scratch:
        scratch.write_text(json.dumps(entries, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _messages(sample: Sample, path: str, asked: str, answer: str) -> dict[str, Any]:
    return {
        "id": sample.video_id,
        "messages": [
            {"role": "user", "content": [{"type": "video", "video": path}, {"type": "text", "text": asked}]},
            {"role": "assistant", "content": [{"type": "text", "text": answer}]},
        ],
        "label": str(sample.label),
        "source": sample.source,
        "split": sample.split,
    }


def _marked(_sample: Sample, path: str, asked: str, answer: str) -> dict[str, Any]:
    """LLaMA-Factory's and ms-swift's row: as many marks in the text as videos in the column."""
    user = {"role": "user", "content": f"{VIDEO_MARK} {asked}"}
    return {"messages": [user, {"role": "assistant", "content": answer}], "videos": [path]}


CONVERSATION_LAYOUTS: dict[str, Callable[[Sample, str, str, str], dict[str, Any]]] = {
    "messages": _messages,
    "llamafactory": _marked,
    "swift": _marked,
}
