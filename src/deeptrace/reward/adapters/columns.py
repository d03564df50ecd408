"""Where the text trainers' rewards find the video that a completion led to."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from deeptrace.errors import SettingsError
from deeptrace.reward.inputs import Clip, path_of_bytes
from deeptrace.reward.tensors import Unusable, frames_of_clip
from deeptrace.video import Video

__all__ = ["Render", "clips_from"]

Render = Callable[..., Sequence[Any]]
"""`render(completions, **columns)` gives each completion's video: a path, a `Video`, the bytes of a file, or uint8
frames (T, H, W, 3)."""

_DATA_URL = re.compile(r"data:[^;,]*(?:;[^;,]*)*;base64,", re.I)
_KINDS = "a path, a Video, the bytes of a file or an array of frames"


@contextmanager
def clips_from(
    completions: Sequence[Any], columns: Mapping[str, Any], column: str, render: Render | None, caller: str
) -> Iterator[list[Clip]]:
    """The clip of each completion: rendered, or from `column` of the batch. A missing one is an unusable clip.

    A column may hold whatever datasets make of a video: a path, bytes, `{"path": ..., "bytes": ...}`, a decoder of the
    `datasets` library, a `data:` URL, uint8 frames, or a list with one of these. Bytes are readable by path inside the
    `with` block.

    Raises:
        SettingsError: neither is there, or not one for each completion.
    """
    if render is not None:
        found: Any = render(completions, **columns)
    elif column in columns:
        found = columns[column]
    else:
        known = ", ".join(sorted(columns)) or "none"
        raise SettingsError(caller, f"no column {column!r} among: {known}", "Name the column, or give render=.")
    if found is None or isinstance(found, (str, bytes, Mapping)) or len(found) != len(completions):
        raise SettingsError(caller, f"expected a video for each of {len(completions)} completions")
    with ExitStack() as files:
        yield [_clip(item, f"clip {index}", caller, files) for index, item in enumerate(found)]


def _clip(item: Any, name: str, caller: str, files: ExitStack) -> Clip:
    if isinstance(item, (list, tuple)) and len(item) == 1:  # datasets keep videos as a list, one a row here
        item = item[0]
    item = getattr(item, "_hf_encoded", item)  # a decoder of the datasets library knows what it was made of
    if isinstance(item, Mapping):  # datasets' Video(decode=False): {"path": ..., "bytes": ...}
        item = item.get("bytes") if item.get("bytes") is not None else item.get("path")
    if isinstance(item, str) and (prefix := _DATA_URL.match(item)):
        try:
            item = base64.b64decode(item[prefix.end() :], validate=True)
        except binascii.Error as error:
            return Unusable(name, f"its data: URL is not base64: {error}")
    if callable(getattr(item, "getvalue", None)):  # io.BytesIO
        item = item.getvalue()
    if isinstance(item, (bytes, bytearray, memoryview)):
        return files.enter_context(path_of_bytes(item)) if len(item) else Unusable(name, "the file is empty (0 bytes)")
    if hasattr(item, "ndim"):
        return frames_of_clip(item, layout="THWC", value_range=(0, 255), caller=caller, name=name)
    if isinstance(item, (str, os.PathLike, Video)):
        return item
    return Unusable(name, f"expected {_KINDS} but got {'none' if item is None else type(item).__name__}")
