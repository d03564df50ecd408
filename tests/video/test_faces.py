"""Faces are found in a real photograph, followed for as long as they are seen, and blurred beyond it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

from deeptrace.errors import SettingsError
from deeptrace.geometry import Box
from deeptrace.video import Video, video_from_array
from deeptrace.video.faces import BlurFaces, Face, find_faces


@pytest.fixture(scope="module")
def astronaut() -> Video:
    """A second of a photograph of a person (NASA, in the public domain), and a second without."""
    data = needs("skimage.data", command="make test")
    photograph = data.astronaut()[:360, :400]
    wall = np.full_like(photograph, 128)
    return video_from_array(np.stack([photograph] * 8 + [wall] * 8), fps=8)


def test_a_face_is_found_where_and_when_it_is(astronaut: Video) -> None:
    faces = find_faces(astronaut)
    assert 2 <= len(faces) <= 4
    assert all(face.time_s < 1.0 for face in faces)
    center = Box(x0=0.45, y0=0.2, x1=0.65, y1=0.5)
    assert all(face.box.iou(center) > 0.3 for face in faces)
    assert find_faces(astronaut, end_s=0.1) == []  # seen once alone


def test_only_the_face_is_blurred(astronaut: Video) -> None:
    frames = list(astronaut.frames())
    made = list(BlurFaces(tuple(find_faces(astronaut)))(frames))
    before, after = (frame.image.astype(float) for frame in (frames[0], made[0]))
    face, below = (slice(90, 150), slice(195, 250)), (slice(300, 360),)
    assert np.abs(np.diff(after[face], axis=1)).mean() < 0.4 * np.abs(np.diff(before[face], axis=1)).mean()
    assert np.array_equal(before[below], after[below])
    assert made[-1].image is frames[-1].image


def test_a_sighting_holds_for_a_moment_before_and_after() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 40, 40, 3), dtype=np.uint8)
    video = video_from_array(noise, fps=8)
    made = list(BlurFaces((Face(1.0, Box(x0=0.2, y0=0.2, x1=0.8, y1=0.8)),))(video.frames()))
    changed = [frame.time_s for frame, image in zip(made, noise, strict=True) if not np.array_equal(frame.image, image)]
    assert changed == [0.5, 0.625, 0.75, 0.875, 1.0, 1.125, 1.25, 1.375, 1.5]


def test_a_model_that_is_none_is_said(astronaut: Video, tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").write_bytes(b"nothing")
    for name, problem in (("yunet.onnx", "cannot be used as a face model"), ("gone.onnx", "no such file")):
        with pytest.raises(SettingsError, match=problem):
            find_faces(astronaut, str(tmp_path / name))
