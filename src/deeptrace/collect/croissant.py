"""`croissant.json`: what a dataset is, for machines, in MLCommons' Croissant 1.0 and its words for responsible AI.

Written from what was done: counts, filters, sources. What only people know (a licence, a name) they say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeptrace.io.fingerprint import sha256_of
from deeptrace.plural import plural
from deeptrace.schema import Label, Sample

__all__ = ["FILE", "croissant"]

FILE = "croissant.json"
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_FIELDS = {
    "video_id": ("sc:Text", "Id of the clip."),
    "video_type": ("sc:Text", "fake_video for a generated clip, real_video for camera footage."),
    "video_path": ("sc:Text", "File, relative to the dataset's folder."),
    "video_source": ("sc:Text", "Generator, or origin of the footage."),
    "split": ("sc:Text", "train, val or test."),
    "video_width": ("sc:Integer", "Pixels across."),
    "video_height": ("sc:Integer", "Pixels down."),
    "video_frame_rate": ("sc:Float", "Frames per second."),
    "video_frame_count": ("sc:Integer", "Number of frames."),
    "video_duration": ("sc:Float", "Seconds."),
}


def croissant(
    folder: Path,
    samples: Sequence[Sample],
    *,
    files: Sequence[str],
    name: str,
    about: Mapping[str, str | None],
    filters: str,
    left_out: Mapping[str, int],
    audited: str,
) -> dict[str, Any]:
    """The metadata of a collected dataset as JSON-LD.

    Args:
        folder: of the dataset.
        samples: its clips.
        files: names of the files beside the clips, the rows (`all_data.json`) first.
        name: of the dataset.
        about: `license`, `url`, `creator`, `description` as the user stated them; None where not.
        filters: what clips had to have, in words.
        left_out: number of clips that each step left out.
        audited: what the audit says of the metadata, in words.
    """
    labels = Counter(sample.label for sample in samples)
    generators = sorted({str(s.source) for s in samples if s.label is Label.FAKE})
    sources = sorted({str(s.source) for s in samples if s.label is Label.REAL})
    counted = (
        f"{plural(labels[Label.FAKE], 'generated clip')} of {plural(len(generators), 'generator')} and "
        f"{plural(labels[Label.REAL], 'camera clip')} from {plural(len(sources), 'source')}"
    )
    stated: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": name,
        "description": about.get("description") or f"{counted}, matched and without metadata shortcuts.",
        "keywords": ["video", "ai-generated video", "detection"],
        "version": "1.0.0",
    }
    stated |= {key: value for key in ("license", "url") if (value := about.get(key))}
    if creator := about.get("creator"):
        stated["creator"] = {"@type": "sc:Organization", "name": creator}
    stated |= _responsible(counted, generators, sources, filters, left_out, audited)
    stated["distribution"] = [_file(folder, file) for file in files] + [
        {
            "@type": "cr:FileSet",
            "@id": "clips",
            "description": "The clips: H.264 in MP4, of one size, rate and bit rate, without sound.",
            "encodingFormat": "video/mp4",
            "includes": "clips/*.mp4",
        }
    ]
    stated["recordSet"] = [_rows(files[0], samples)]
    return stated


def _responsible(
    counted: str,
    generators: Sequence[str],
    sources: Sequence[str],
    filters: str,
    left_out: Mapping[str, int],
    audited: str,
) -> dict[str, Any]:
    refused = ", ".join(f"{step} {count}" for step, count in left_out.items()) or "none"
    return {
        "rai:dataCollection": f"{counted}. Generators: {', '.join(generators)}. Footage: {', '.join(sources)}.",
        "rai:dataCollectionType": ["Others"],
        "rai:dataPreprocessingProtocol": [
            f"Each clip's longest shot was kept. Clips had to have: {filters}.",
            f"Clips left out, by step: {refused}.",
            "Near-duplicates were removed by perceptual hashes; camera clips were matched to generated ones in length, "
            "size, rate, quality, motion and content.",
            "All clips were encoded alike: one size, frame rate and constant bit rate, no sound; both classes have the "
            "same lengths.",
        ],
        "rai:dataBiases": [
            f"What metadata gives away, as audited: {audited}",
            "Classes are matched on what was measured; what the measures do not see may still differ.",
            "Generators and sources are those that were at hand, not a sample of all.",
        ],
        "rai:dataLimitations": [
            "Whether a clip is generated rests on what was stated when it was collected, not on a look at it.",
            "Clips were encoded again; traces of the first encoding may show in the pictures.",
        ],
        "rai:dataUseCases": ["Training and evaluation of detectors of AI-generated video."],
        "rai:personalSensitiveInformation": ["Camera clips may show people; nobody was asked by this procedure."],
    }


def _file(folder: Path, name: str) -> dict[str, Any]:
    kinds = {".json": "application/json", ".csv": "text/csv", ".jsonl": "application/jsonlines"}
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": kinds[Path(name).suffix],
        "sha256": sha256_of(folder / name),
    }


def _rows(file: str, samples: Sequence[Sample]) -> dict[str, Any]:
    """The record set of the rows: fields that every row has, since columns of JSON must be of one length."""
    known = {name for name in _FIELDS if name != "split" or all(sample.split for sample in samples)}
    return {
        "@type": "cr:RecordSet",
        "@id": "rows",
        "description": "One row a clip.",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"rows/{name}",
                "description": text,
                "dataType": kind,
                "source": {"fileObject": {"@id": file}, "extract": {"jsonPath": f"$[*].{name}"}},
            }
            for name, (kind, text) in _FIELDS.items()
            if name in known
        ],
    }
