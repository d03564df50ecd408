from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.train.tracenet.made import row

from deeptrace.errors import DataError
from deeptrace.train.tracenet.clips import UNCONFIRMED, Clip, Kind, fold_numbers, read_clips


def lay_out(root: Path, rows: list[dict], *more: str) -> Path:
    """Annotations and empty files in the place of clips: they are listed here, not opened."""
    for name in [*(r["video_path"] for r in rows), *more]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "all_data.json").write_text(json.dumps(rows))
    return root


def test_clips_carry_kind_group_and_traces(tmp_path: Path) -> None:
    rows = [
        row("generated/a.mp4", "GenA", True, box=(10, 10, 40, 40), votes=2),
        row("generated/b.mp4", "GenB", True, box=(10, 10, 40, 40), votes=1),
        *(row(f"real/{k}.mp4", f"source{k}", False) for k in range(5)),
    ]
    clips = {clip.name: clip for clip in read_clips(lay_out(tmp_path, rows))}
    assert len(clips) == 7
    a, b, real = clips["generated__a.mp4"], clips["generated__b.mp4"], clips["real__3.mp4"]
    assert (a.kind, a.group, a.split) == (Kind.GENERATED, "generated:GenA", "train")
    assert (real.kind, real.group, real.traces) == (Kind.REAL, "real:source3", ())
    assert [trace.score for trace in a.traces] == [1.0]
    assert [trace.score for trace in b.traces] == [UNCONFIRMED]
    assert a.traces[0].box.as_tuple() == pytest.approx((10 / 160, 10 / 120, 50 / 160, 50 / 120))


def test_edited_versions_stay_with_their_original(tmp_path: Path) -> None:
    rows = [
        row("real/p.mp4", "matched:pair1", False),
        *(row(f"real/{k}.mp4", f"source{k}", False) for k in range(5)),
        row("generated/a.mp4", "GenA", True),
    ]
    edits = ("matched/pair1__real.mp4", "matched/pair1__vace.mp4", "matched/unknown__vace.mp4")
    clips = read_clips(lay_out(tmp_path, rows, *edits), "matched")
    (edited,) = [clip for clip in clips if clip.kind is Kind.EDITED]
    assert edited.path.name == "pair1__vace.mp4"
    (original,) = [clip for clip in clips if clip.name == "real__p.mp4"]
    assert edited.group == original.group == "matched:pair1"
    assert not [clip for clip in read_clips(tmp_path) if clip.kind is Kind.EDITED]


def test_a_missing_clip_is_named(tmp_path: Path) -> None:
    lay_out(tmp_path, [row("real/a.mp4", "s", False)])
    (tmp_path / "real/a.mp4").unlink()
    with pytest.raises(DataError, match=r"real/a\.mp4: no such clip"):
        read_clips(tmp_path)


def test_two_folders_are_two_eras_and_their_clips_never_share_a_name(tmp_path: Path) -> None:
    rows = [row("real/a.mp4", "s", False), row("generated/b.mp4", "G", True)]
    old = lay_out(tmp_path / "old", rows)
    new = lay_out(tmp_path / "new", [rows[0] | {"kind": "game"}, rows[1]])
    clips = {clip.name: clip for clip in read_clips((old, new))}
    assert sorted(clips) == [
        "new__generated__b.mp4", "new__real__a.mp4", "old__generated__b.mp4", "old__real__a.mp4"
    ]  # fmt: skip
    assert {clip.era for clip in clips.values()} == {"old", "new"}
    assert (clips["new__real__a.mp4"].footage, clips["old__real__a.mp4"].footage) == ("game", "camera")
    assert [clip.name for clip in read_clips(old)] == ["generated__b.mp4", "real__a.mp4"]
    with pytest.raises(DataError, match="two folders are called old"):
        read_clips((old, lay_out(tmp_path / "more" / "old", rows)))


def test_a_large_source_of_unrelated_videos_is_parted_and_small_ones_are_not(tmp_path: Path) -> None:
    rows = [row(f"real/big{k}.mp4", "scraped", False) for k in range(40)]
    rows += [row(f"real/small{k}.mp4", f"source{k % 10}", False) for k in range(40)]
    clips = read_clips(lay_out(tmp_path, rows))
    groups = {clip.group for clip in clips}
    assert 4 <= sum(group.startswith("real:scraped/") for group in groups) <= 8
    assert "real:source3" in groups
    again = {clip.name: clip.group for clip in read_clips(tmp_path)}
    assert all(again[clip.name] == clip.group for clip in clips)


GROUPS = st.lists(st.integers(1, 9), min_size=2, max_size=12)


@given(GROUPS, GROUPS, st.integers(2, 5), st.integers(0, 99))
def test_a_fold_never_parts_a_group(generated: list[int], real: list[int], folds: int, seed: int) -> None:
    clips = [
        Clip(f"{kind.name}{group}_{k}", Path("x"), kind, f"{kind.name}:{group}", "")
        for kind, sizes in ((Kind.GENERATED, generated), (Kind.REAL, real))
        for group, size in enumerate(sizes)
        for k in range(size)
    ]
    numbers = fold_numbers(clips, folds, seed)
    assert len(numbers) == len(clips)
    assert set(numbers) <= set(range(folds))
    of_group = defaultdict(set)
    for clip, number in zip(clips, numbers, strict=True):
        of_group[clip.group].add(int(number))
    assert all(len(found) == 1 for found in of_group.values())
    for kind, sizes in ((Kind.GENERATED, generated), (Kind.REAL, real)):
        load = np.bincount([n for clip, n in zip(clips, numbers, strict=True) if clip.kind is kind], minlength=folds)
        assert load.max() - load.min() <= max(sizes)  # as even as whole groups allow
    np.testing.assert_array_equal(numbers, fold_numbers(clips, folds, seed))


def test_edited_clips_are_in_the_fold_of_their_original() -> None:
    clips = [Clip(f"g{k}", Path("x"), Kind.GENERATED, f"g{k}", "") for k in range(4)]
    for k in range(6):
        clips += [Clip(f"{kind.name}{k}", Path("x"), kind, f"matched:{k}", "") for kind in (Kind.REAL, Kind.EDITED)]
    numbers = dict(zip((clip.name for clip in clips), fold_numbers(clips, 3, 0), strict=True))
    assert all(numbers[f"REAL{k}"] == numbers[f"EDITED{k}"] for k in range(6))
