"""Labels as other annotation tools write them: out of the studio as a zip, and back in."""

from __future__ import annotations

import io
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, get_args

from deeptrace.data.exporters import (
    Exported,
    write_coco,
    write_cvat,
    write_fiftyone,
    write_label_studio,
    write_labelbox,
)
from deeptrace.data.importers import (
    Imported,
    read_coco,
    read_cvat,
    read_fiftyone,
    read_label_studio,
    read_labelbox,
)
from deeptrace.errors import DataError
from deeptrace.schema import Media, Sample
from deeptrace.studio.labels import STANDARD

__all__ = ["READ_FROM", "ReadFrom", "WriteTo", "read_labels", "zipped_labels"]

WriteTo = Literal["cvat", "label-studio", "labelbox", "coco", "fiftyone"]
ReadFrom = WriteTo
READ_FROM: tuple[ReadFrom, ...] = get_args(ReadFrom)

_MOST_BYTES, _MOST_FILES = 256 << 20, 20_000
_FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # the same bytes every time


def zipped_labels(samples: Iterable[Sample], to: WriteTo, *, root: Path | None = None) -> tuple[bytes, Exported]:
    """Labels in another tool's files, zipped; `notes.txt` among them says what of the labels has no place there.

    Args:
        samples: that are labelled.
        to: the tool.
        root: folder of the videos, where FiftyOne is to find them.

    Raises:
        DataError: the tool cannot name one of the videos.
    """
    samples = labelled = list(samples)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if to == "coco":
            done = write_coco(samples, folder / "annotations.json")
        elif to == "cvat":
            done = write_cvat(samples, folder)
        elif to == "labelbox":
            done = write_labelbox(samples, folder)
        elif to == "label-studio":
            done = write_label_studio(samples, folder)
        else:
            done = write_fiftyone(samples, folder, root=root)
        notes = [*done.notes]
        if worded := [one for one in labelled if any(STANDARD in row for row in one.extra.get("rows") or ())]:
            more = f" (and {len(worded) - 1} more like it)" if worded[1:] else ""
            notes.append(f"video {worded[0].video_id}: standard wordings have no place in this format{more}")
        if notes:
            (folder / "notes.txt").write_text("".join(f"{line}\n" for line in notes), encoding="utf-8")
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                name = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _FIRST_TIME)
                archive.writestr(name, path.read_bytes(), zipfile.ZIP_DEFLATED)
        return held.getvalue(), done


def read_labels(body: bytes, of: ReadFrom, media: Callable[[str], Media]) -> Imported:
    """Another tool's labels: its file, or a zip of its files.

    Args:
        body: bytes of it.
        of: the tool.
        media: asked for the size, rate and length of a video by its path.

    Raises:
        DataError: no such file, or not one video in it makes sense.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if zipfile.is_zipfile(io.BytesIO(body)):
            _unpack(body, folder)
            files: Sequence[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
        else:
            name = {"cvat": "annotations.xml", "labelbox": "labels.ndjson", "fiftyone": "manifest.json"}.get(
                of, "tasks.json"
            )
            (folder / name).write_bytes(body)
            files = [folder / name]
        if of == "cvat":
            return read_cvat(folder, fps=lambda path: media(path).fps or 0.0, folder="")
        if of == "fiftyone":
            whole = next((path.parent for path in files if path.name == "manifest.json"), folder)
            return read_fiftyone(whole, media=media, folder="")
        wanted = [path for path in files if path.suffix in (".json", ".ndjson", ".jsonl")]
        if of == "labelbox":
            wanted = [path for path in wanted if path.name != "ontology.json"]
        if len(wanted) != 1:
            raise DataError(
                "the file", f"expected one file of labels but found {len(wanted)}", "Send that file itself."
            )
        if of == "labelbox":
            return read_labelbox(wanted[0], media=media, folder="")
        read = read_coco if of == "coco" else read_label_studio
        return read(wanted[0], media=media, folder="")


def _unpack(body: bytes, folder: Path) -> None:
    """Write what a zip holds, as long as it is small and stays inside."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > _MOST_FILES or sum(entry.file_size for entry in entries) > _MOST_BYTES:
                raise DataError("the zip", f"holds more than {_MOST_FILES} files or {_MOST_BYTES >> 20} MiB")
            for entry in entries:
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise DataError("the zip", f"packs {entry.filename[:100]!r} in another way than zips usually do")
                target = (folder / entry.filename).resolve()
                if not target.is_relative_to(folder.resolve()):
                    raise DataError("the zip", "names a file outside of it")
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as packed:  # never more than it states: a zip can lie
                    target.write_bytes(packed.read(entry.file_size))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise DataError("the zip", f"cannot be read ({str(error)[:100]})") from None
