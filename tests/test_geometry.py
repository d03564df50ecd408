"""Box, Interval and Tube against arithmetic done by hand, and against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deeptrace.geometry import Box, Interval, Keyframe, Tube, hull

fractions = st.floats(0, 1, allow_nan=False)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, x1, y0, y1 = (draw(fractions) for _ in range(4))
    assume(abs(x0 - x1) > 1e-3 and abs(y0 - y1) > 1e-3)
    return Box(x0=min(x0, x1), y0=min(y0, y1), x1=max(x0, x1), y1=max(y0, y1))


@st.composite
def tubes(draw: st.DrawFn) -> Tube:
    onset = draw(st.floats(0, 5))
    length = draw(st.floats(0.1, 5))
    count = draw(st.integers(1, 4))
    keys = tuple(Keyframe(time_s=onset + length * i / count, box=draw(boxes())) for i in range(count))
    return Tube(onset_s=onset, offset_s=onset + length, keyframes=keys)


class TestBox:
    def test_is_a_list_in_json_and_reads_one(self) -> None:
        box = Box.model_validate([0.1, 0.2, 0.4, 0.6])
        assert box.model_dump() == [0.1, 0.2, 0.4, 0.6]
        assert Box.model_validate_json(box.model_dump_json()) == box

    @pytest.mark.parametrize(
        "corners",
        [(0.4, 0.2, 0.1, 0.6), (0.1, 0.2, 0.1, 0.6), (-0.1, 0, 1, 1), (0, 0, 1.01, 1), (math.nan, 0, 1, 1)],
        ids=["order", "no width", "left of frame", "right of frame", "nan"],
    )
    def test_refuses_what_is_no_box(self, corners: tuple[float, ...]) -> None:
        with pytest.raises(ValueError, match=r"box|finite"):
            Box.model_validate(list(corners))

    def test_refuses_three_numbers_and_says_how_many(self) -> None:
        with pytest.raises(ValueError, match="got 3 numbers"):
            Box.model_validate([0.1, 0.2, 0.3])

    def test_measures_by_hand(self) -> None:
        a, b = Box(x0=0, y0=0, x1=0.5, y1=0.5), Box(x0=0.25, y0=0.25, x1=0.75, y1=0.75)
        assert a.area == 0.25
        assert a.center == (0.25, 0.25)
        assert a.overlap(b) == 0.0625
        assert a.iou(b) == pytest.approx(0.0625 / 0.4375)
        assert a.center_distance(b) == pytest.approx(0.25)

    @given(boxes(), boxes())
    def test_iou_is_symmetric_and_one_only_of_itself(self, a: Box, b: Box) -> None:
        assert a.iou(b) == pytest.approx(b.iou(a))
        assert 0 <= a.iou(b) <= 1
        assert a.iou(a) == pytest.approx(1)
        assert 0 <= a.center_distance(b) <= 1

    @given(boxes(), st.integers(16, 4000), st.integers(16, 4000))
    def test_pixel_spaces_and_back(self, box: Box, width: int, height: int) -> None:
        size = {"width": width, "height": height}
        for back in (
            Box.from_pixels_xyxy(*box.to_pixels_xyxy(**size), **size),
            Box.from_pixels_ltwh(*box.to_pixels_ltwh(**size), **size),
            Box.from_permille_xyxy(*box.to_permille_xyxy()),
        ):
            assert back.as_tuple() == pytest.approx(box.as_tuple(), abs=1e-9)

    def test_y_first_orders(self) -> None:
        assert Box.from_permille_yxyx(200, 100, 600, 400).as_tuple() == (0.1, 0.2, 0.4, 0.6)
        assert Box.from_1024ths_yxyx(256, 0, 512, 1024).as_tuple() == (0, 0.25, 1, 0.5)

    def test_outside_numbers_are_clipped_but_nothing_left_is_an_error(self) -> None:
        assert Box.from_pixels_ltwh(-10, 50, 30, 100, width=100, height=100).as_tuple() == (0, 0.5, 0.2, 1)
        with pytest.raises(ValueError, match="box"):
            Box.from_pixels_xyxy(120, 0, 150, 50, width=100, height=100)
        with pytest.raises(ValueError, match="positive size"):
            Box.from_pixels_xyxy(0, 0, 1, 1, width=0, height=10)

    @given(st.lists(boxes(), min_size=1, max_size=5))
    def test_hull_holds_all(self, many: list[Box]) -> None:
        whole = hull(many)
        assert all(whole.overlap(box) == pytest.approx(box.area) for box in many)
        assert whole.x0 == min(box.x0 for box in many)

    def test_hull_of_nothing_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            hull([])


class TestInterval:
    def test_by_hand(self) -> None:
        a, b = Interval(onset_s=1, offset_s=3), Interval(onset_s=2, offset_s=5)
        assert a.overlap_s(b) == 1
        assert a.tiou(b) == 0.25
        assert a.tiou(Interval(onset_s=3, offset_s=4)) == 0  # half-open: they only touch

    def test_instants(self) -> None:
        instant = Interval(onset_s=2, offset_s=2)
        assert instant.tiou(instant) == 1
        assert instant.tiou(Interval(onset_s=3, offset_s=3)) == 0

    @pytest.mark.parametrize("times", [(-1, 2), (3, 2), (0, math.inf)])
    def test_refuses_nonsense(self, times: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match=r"onset_s|finite"):
            Interval(onset_s=times[0], offset_s=times[1])


class TestTube:
    moving = Tube(
        onset_s=1,
        offset_s=3,
        keyframes=(
            Keyframe(time_s=1, box=Box(x0=0, y0=0, x1=0.2, y1=0.2)),
            Keyframe(time_s=2, box=Box(x0=0.4, y0=0.4, x1=0.6, y1=0.6)),
        ),
    )

    def test_moves_linearly_and_rests_after_the_last_keyframe(self) -> None:
        middle, end = self.moving.box_at(1.5), self.moving.box_at(2.9)
        assert middle is not None
        assert end is not None
        assert middle.as_tuple() == pytest.approx((0.2, 0.2, 0.4, 0.4))
        assert end.as_tuple() == pytest.approx((0.4, 0.4, 0.6, 0.6))

    @pytest.mark.parametrize("time_s", [0.99, 3.0, 10])
    def test_is_nowhere_outside_its_life(self, time_s: float) -> None:
        assert self.moving.box_at(time_s) is None

    def test_viou_of_still_boxes_is_box_iou_times_tiou(self) -> None:
        a = Tube.constant(Box(x0=0, y0=0, x1=0.5, y1=0.5), Interval(onset_s=0, offset_s=2))
        b = Tube.constant(Box(x0=0, y0=0, x1=0.5, y1=1), Interval(onset_s=1, offset_s=3))
        assert a.viou(b) == pytest.approx(0.5 * (1 / 3))

    def test_a_gap_is_no_time_of_a_tube(self) -> None:
        gap = (Interval(onset_s=1.0, offset_s=1.5),)
        blinks = self.moving.model_copy(update={"gaps": gap})
        times = np.linspace(blinks.onset_s, blinks.offset_s, 401)[:-1]
        for time in times.tolist():
            box = blinks.box_at(time)
            assert (box is None) == (time < 1.5)
            assert box is None or box == self.moving.box_at(time)
        assert sum(one.duration_s for one in blinks.segments) == 1.5
        assert blinks.viou(blinks) == pytest.approx(1)
        # over the moments at which both are on, against those at which either is
        assert blinks.viou(self.moving) == pytest.approx(0.75)
        seen = [time for time in times.tolist() if time >= 1.5]
        assert blinks.box.x0 == pytest.approx(min(self.moving.box_at(time).x0 for time in seen), abs=1e-3)
        with pytest.raises(ValueError, match="gaps with a length, in order and apart"):
            self.moving.model_validate(self.moving.model_dump() | {"gaps": [gap[0], Interval(onset_s=1.2, offset_s=4)]})

    @given(a=tubes(), b=tubes(), cuts=st.lists(st.floats(0, 10), min_size=4, max_size=4, unique=True))
    def test_viou_with_gaps_is_the_integral_over_time(self, a: Tube, b: Tube, cuts: list[float]) -> None:
        low = sorted(cuts)
        a = a.model_copy(update={"gaps": (Interval(onset_s=low[0], offset_s=low[1]),)})
        b = b.model_copy(update={"gaps": (Interval(onset_s=low[2], offset_s=low[3]),)})
        times = np.linspace(0, 20, 8001) + 1e-7
        boxes = [(a.box_at(time), b.box_at(time)) for time in times.tolist()]
        shared = sum(one.iou(other) for one, other in boxes if one is not None and other is not None)
        joint = sum(one is not None or other is not None for one, other in boxes)
        assume(joint > 400)
        assert a.viou(b) == pytest.approx(shared / joint, abs=0.02)

    @given(tubes(), tubes())
    def test_viou_is_the_integral_over_time(self, a: Tube, b: Tube) -> None:
        times = np.linspace(min(a.onset_s, b.onset_s), max(a.offset_s, b.offset_s), 8001)
        times = (times[1:] + times[:-1]) / 2
        both = 0.0
        alive = [((t.onset_s <= times) & (times < t.offset_s)) for t in (a, b)]
        for corners_a, corners_b in zip(
            a.corners_at(times[alive[0] & alive[1]]), b.corners_at(times[alive[0] & alive[1]]), strict=True
        ):
            both += Box.model_validate(corners_a.tolist()).iou(Box.model_validate(corners_b.tolist()))
        brute = both / (alive[0] | alive[1]).sum()
        assert a.viou(b) == pytest.approx(brute, abs=5e-3)
        assert a.viou(b) == pytest.approx(b.viou(a))

    def test_refuses_keyframes_out_of_order_or_missing(self) -> None:
        key = Keyframe(time_s=1, box=Box(x0=0, y0=0, x1=1, y1=1))
        with pytest.raises(ValueError, match="rising"):
            Tube(onset_s=0, offset_s=2, keyframes=(key, key))
        with pytest.raises(ValueError, match="at least one keyframe"):
            Tube(onset_s=0, offset_s=2, keyframes=())
