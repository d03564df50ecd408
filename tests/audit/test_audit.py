"""Integrity and shortcuts on sets built with them, and on a clean one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.audit.conftest import Shelf, encode, pictures
from tests.needs import needs

from deeptrace.audit import Audit, audit, near_duplicates, perceptual_hash, read_facts
from deeptrace.audit.classify import auc
from deeptrace.audit.near_duplicates import groups_of_pairs
from deeptrace.errors import DataError
from deeptrace.reports.audit import write_html
from deeptrace.video import open_video

Build = Callable[..., Path]


def shortcuts_of(result: Audit) -> set[str]:
    return {feature.name for feature in result.shortcuts.features if feature.shortcut}


# -- facts and hashes -------------------------------------------------------------------------------------------------


def test_facts_say_what_the_file_says_and_what_decoding_shows(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", pictures(1, 12, (96, 64)), fps=12, audio=True, tags={"comment": "made by X"})
    facts = read_facts(path)
    assert facts.error is None
    assert (facts.width, facts.height, facts.fps, facts.codec) == (96, 64, 12.0, "h264")
    assert (facts.has_audio, facts.audio_codec, facts.audio_rate, facts.streams) == (True, "aac", 16_000, 2)
    assert facts.tags["comment"] == "made by X"
    assert facts.bytes == path.stat().st_size
    assert facts.decoded is not None
    assert (facts.decoded.frames, facts.decoded.duration_s) == (12, pytest.approx(1.0))
    assert len(facts.hashes) == 5
    header = read_facts(path, decode=False)
    assert header.decoded is None
    assert header.hashes == ()


def test_files_that_cannot_be_used_give_facts_with_an_error(tmp_path: Path) -> None:
    whole = encode(tmp_path / "a.mp4", pictures(1, 12, (96, 64))).read_bytes()
    for name, content in (("cut.mp4", whole[: len(whole) // 2]), ("text.mp4", b"hello"), ("empty.mp4", b"")):
        (tmp_path / name).write_bytes(content)
        assert read_facts(tmp_path / name).error
    assert read_facts(tmp_path / "none.mp4").error


def test_the_hash_is_that_of_imagehash_but_for_its_resampling(tmp_path: Path) -> None:
    imagehash = needs("imagehash")
    from PIL import Image

    for seed in range(5):
        gray = pictures(seed, 1, (256, 256))[0].mean(axis=-1).astype(np.uint8)
        theirs = int(str(imagehash.phash(Image.fromarray(gray))), 16)
        ours = perceptual_hash(gray)
        assert ours is not None
        assert (ours ^ theirs).bit_count() <= 4
    assert perceptual_hash(np.full((64, 64), 90, np.uint8)) is None


def test_the_same_clip_twice_is_found_through_encoding_and_scaling_and_others_are_not(tmp_path: Path) -> None:
    with open_video(encode(tmp_path / "a.mp4", pictures(7, 16, (192, 128)), crf=18)) as video:
        small = np.stack([frame.image for frame in video.frames(size=(96, 64))])
    encode(tmp_path / "b.mp4", small, crf=34)
    for seed in range(20, 28):
        encode(tmp_path / f"other{seed}.mp4", pictures(seed, 16, (96, 64)))
    encode(tmp_path / "black.mp4", np.zeros((16, 64, 96, 3), np.uint8))
    encode(tmp_path / "black2.mp4", np.zeros((16, 64, 96, 3), np.uint8))
    names = sorted(path.name for path in tmp_path.glob("*.mp4"))
    pairs = list(near_duplicates([read_facts(tmp_path / name).hashes for name in names]))
    assert [(names[a], names[b]) for a, b, _ in pairs] == [("a.mp4", "b.mp4")]


def test_pairs_hang_together_in_groups() -> None:
    assert groups_of_pairs([(0, 3, 1.0), (3, 5, 2.0), (7, 8, 0.0)]) == [[0, 3, 5], [7, 8]]


# -- integrity --------------------------------------------------------------------------------------------------------


def test_every_fault_is_found_and_named(shelf: Shelf) -> None:
    shelf.add("good", fake=True, source="Pika", seed=1)
    shelf.add(
        "out",
        fake=True,
        source="Pika",
        seed=2,
        row={"faketrace_bbox": {"left": 90, "top": 0, "width": 20, "height": 20}},
    )
    shelf.add("late", fake=True, source="Pika", seed=3, row={"faketrace_first_frame": 80})
    shelf.add("long", fake=True, source="Pika", seed=4, row={"faketrace_duration": 9.0})
    shelf.add("size", fake=False, source="A", seed=5, row={"video_width": 128})
    shelf.add("rate", fake=False, source="A", seed=6, row={"video_frame_rate": 30.0, "video_frame_count": 30})
    shelf.add("tag", fake=True, source="Pika", seed=7, row={"faketrace_check_applies": ["sparkle"]})
    shelf.add("mad", fake=True, source="Pika", seed=8, row={"faketrace_duration": -1})
    shelf.add("real", fake=False, source="A", seed=9, row={"faketrace_first_frame": 0})
    shelf.add("gone", fake=False, source="A", seed=10)
    shelf.add("bad", fake=False, source="A", seed=11)
    shelf.add("twin1", fake=False, source="A", seed=12, crf=20)
    shelf.add("twin2", fake=False, source="A", seed=12, crf=30, split="test")
    shelf.add("lie", fake=True, source="Pika", seed=13)
    shelf.add("truth", fake=False, source="A", seed=13)
    shelf.rows.append(shelf.rows[0] | {"split": "test"})
    root = shelf.write()
    (root / "real_videos/gone.mp4").unlink()
    content = (root / "real_videos/bad.mp4").read_bytes()
    (root / "real_videos/bad.mp4").write_bytes(content[: len(content) // 2])
    encode(root / "videos/stray.mp4", pictures(30, 8, (96, 64)))

    result = audit(root, shuffles=1)
    found = {(finding.kind, finding.subject.split(" (")[-1].rstrip(")")) for finding in result.findings}
    assert found == {
        ("box_outside_frame", "out"),
        ("onset_after_end", "late"),
        ("offset_after_end", "long"),
        ("size_mismatch", "size"),
        ("fps_mismatch", "rate"),
        ("frames_mismatch", "rate"),
        ("unknown_tag", "tag"),
        ("nonsense", f"{root.name}/all_data.json, row 8, faketrace_duration"),
        ("trace_on_real", "real"),
        ("missing_media", "gone"),
        ("corrupt", "bad"),
        ("unmatched_media", "videos/stray.mp4"),
        ("unmatched_media", "videos/mad.mp4"),
        ("duplicate_across_splits", "twin1"),
        ("duplicate_across_labels", "lie"),
        ("contradiction", f"{root.name}/all_data.json, row 16, split"),
    }
    assert [finding.severity for finding in result.findings] == sorted(
        (finding.severity for finding in result.findings), key=["error", "warning", "note"].index
    )
    assert "Too few clips" in result.shortcuts.summary
    json.dumps(result.as_json(), allow_nan=False)


def test_an_empty_or_missing_set_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "all_data.json").write_text("[]")
    with pytest.raises(DataError, match="no readable video"):
        audit(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        audit(tmp_path / "none.json")


# -- shortcuts --------------------------------------------------------------------------------------------------------


def test_auc_is_sklearns() -> None:
    metrics = needs("sklearn.metrics")
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = rng.random(40) < 0.4
        scores = rng.integers(0, 6, 40).astype(float)
        assert auc(truth, scores) == pytest.approx(metrics.roc_auc_score(truth, scores))
    assert auc(np.ones(4, bool), np.arange(4.0)) is None


def test_a_clean_set_has_no_shortcut(balanced: Build) -> None:
    result = audit(balanced("clean", lambda fake, source, i: {}), shuffles=30)
    assert shortcuts_of(result) == set()
    assert not result.shortcuts.found
    assert result.findings == ()
    by_name = {feature.name: feature for feature in result.shortcuts.features}
    assert by_name["audio track"].constant
    assert by_name["resolution"].constant
    assert "No shortcut found" in result.shortcuts.summary


def test_sound_on_the_real_side_alone_is_found(balanced: Build, tmp_path: Path) -> None:
    result = audit(balanced("audio", lambda fake, source, i: {"audio": not fake}), shuffles=30)
    assert "audio track" in shortcuts_of(result)
    assert not shortcuts_of(result) & {"resolution", "frame rate", "codec", "file extension", "aspect ratio"}
    sound = next(feature for feature in result.shortcuts.features if feature.name == "audio track")
    assert sound.auc == 1.0
    assert sound.auc_by_source == 1.0, "it holds for sources not seen"
    assert sound.rule is not None
    assert (sound.rule.of_fake, sound.rule.of_real) in ((0.0, 1.0), (1.0, 0.0))
    assert result.shortcuts.joint_auc == 1.0
    assert result.shortcuts.shuffled is not None
    assert result.shortcuts.shuffled < 0.9
    write_html(result, tmp_path / "audit.html")
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "Metadata gives the label away" in page
    assert "separates the classes almost alone" in page
    assert page.count("<svg") >= 2
    for outside in ("<script", "<link", "src=", "@import", "url("):
        assert outside not in page
    assert page.replace("http://www.w3.org/2000/svg", "").count("http") == 0


def test_a_page_of_too_few_clips_does_not_say_that_there_is_no_shortcut(tmp_path: Path) -> None:
    result = audit(Path(__file__).parents[2] / "examples")
    write_html(result, tmp_path / "audit.html")
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "Too few clips to look for shortcuts" in page
    assert "No metadata shortcut found" not in page
    assert page.count("too few clips to say") == 2, "in the chart and in the table: the bit rates differ"


def test_sizes_that_one_generator_alone_has_are_found_and_named(balanced: Build) -> None:
    def vary(fake: bool, source: int, i: int) -> dict:
        own = ((130, 72), (128, 76))  # as 1296x720 is Pika's alone in the release, and 1280x768 Gen-3's
        return {"size": own[source] if fake and source < 2 else ((96, 64), (112, 64))[(i // 6) % 2]}

    result = audit(balanced("size", vary), shuffles=30)
    assert {"resolution", "aspect ratio"} <= shortcuts_of(result)
    assert not shortcuts_of(result) & {"audio track", "frame rate", "codec", "file extension"}
    size = next(feature for feature in result.shortcuts.features if feature.name == "resolution")
    assert "shortcut" in size.verdict
    assert [(e.size, e.source, e.clips, e.of, e.fake) for e in result.shortcuts.exclusive] == [
        ("130x72", "Pika", 8, 8, True),
        ("128x76", "Kling", 8, 8, True),
    ]


def test_sources_that_differ_among_the_real_ones_too_raise_the_floor(balanced: Build) -> None:
    def vary(fake: bool, source: int, i: int) -> dict:
        return {"size": ((96, 64), (112, 64), (128, 72))[source] if not fake else (80, 64)}

    result = audit(balanced("floor", vary), shuffles=20)
    assert set(result.shortcuts.real_versus_real) == {"LLaVA", "Panda", "Kinetics"}
    assert min(result.shortcuts.real_versus_real.values()) > 0.9
    assert "tells one real source from the others" in result.shortcuts.summary


@pytest.mark.slow
@pytest.mark.corpus
def test_the_corpus_shortcuts_are_found(corpus_dir: Path) -> None:
    result = audit(corpus_dir, workers=2, shuffles=40)
    assert {"frame rate", "frame count", "resolution", "aspect ratio"} <= shortcuts_of(result)
    rate = next(feature for feature in result.shortcuts.features if feature.name == "frame rate")
    assert rate.auc is not None
    assert rate.auc > 0.9
    assert rate.auc_by_source is not None
    assert rate.auc_by_source > 0.7
    assert result.errors == 0
    assert result.counts["unmatched_media"] == 59
