"""A folder that Hugging Face `datasets` loads as it is: one Parquet file a split, and the card that names them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deeptrace.data.exporters.parquet import write_parquet_rows
from deeptrace.data.rewarddata import rows_of_sample
from deeptrace.errors import MissingExtraError
from deeptrace.io.atomic import atomic_path
from deeptrace.plural import plural
from deeptrace.schema import Sample

__all__ = ["to_dataset", "write_hub_folder"]

_CARD = """---
pretty_name: {name}
task_categories:
- video-classification
configs:
- config_name: default
  data_files:
{files}
---

# {name}

{rows} of {videos} in RewardData's format: one row a trace of a generated video, one a real video.
`row_json` holds each row verbatim. `video_path` is relative to the dataset's media folder.

```python
from datasets import load_dataset
rows = load_dataset("{folder}")
```
"""


def write_hub_folder(samples: Iterable[Sample], folder: str | os.PathLike[str], *, name: str = "RewardData") -> int:
    """Write `data/<split>-00000-of-00001.parquet` and `README.md`; returns the rows written.

    Samples without a split go to "train", the name that `datasets` expects of a lone one.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: the folder cannot be written.
    """
    base = Path(folder)
    splits: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        splits[sample.split or "train"].append(sample)
    rows, files = 0, []
    for split, members in splits.items():
        file = f"data/{split}-00000-of-00001.parquet"
        rows += write_parquet_rows((row for sample in members for row in rows_of_sample(sample)), base / file)
        files.append(f"  - split: {split}\n    path: {file}")
    card = _CARD.format(
        name=name,
        files="\n".join(files),
        rows=plural(rows, "row"),
        videos=plural(sum(len(members) for members in splits.values()), "video"),
        folder=base.name,
    )
    with atomic_path(base / "README.md") as scratch:
        scratch.write_text(card, encoding="utf-8")
    return rows


def to_dataset(samples: Iterable[Sample]) -> Any:
    """The rows of `samples` as a `datasets.Dataset` in memory, columns as in the Parquet export.

    Raises:
        MissingExtraError: datasets is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("Hugging Face datasets", "bench") from error
    import tempfile

    import pyarrow.parquet

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "rows.parquet"
        write_parquet_rows((row for sample in samples for row in rows_of_sample(sample)), path)
        return datasets.Dataset(pyarrow.parquet.read_table(path))
