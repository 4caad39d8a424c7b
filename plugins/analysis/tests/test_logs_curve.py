"""A curve in bounded memory."""

from __future__ import annotations

import math

import pytest
from segplug_analysis.logs.curve import CAPACITY, Curve, Place


def filled(values, **settings):
    curve = Curve(**settings)
    for iteration, value in enumerate(values, 1):
        curve.add(Place(1, iteration), value)
    return curve


def test_as_long_as_there_is_room_every_point_is_kept():
    curve = filled(range(CAPACITY))
    assert curve.width == 1
    assert [part.mean for part in curve.bins] == list(range(CAPACITY))


@pytest.mark.parametrize("count", [CAPACITY + 1, 3 * CAPACITY, 50_000])
def test_bins_hold_every_point_once(count):
    curve = filled([float(value) for value in range(count)])
    assert len(curve.bins) <= CAPACITY
    assert sum(part.points for part in curve.bins) == count
    assert sum(part.total for part in curve.bins) == sum(range(count))
    assert [part.low for part in curve.bins] == [part.first for part in curve.bins]
    assert [part.high for part in curve.bins] == [part.last for part in curve.bins]
    assert all(part.high_at == part.end and part.low_at == part.start for part in curve.bins)
    for before, after in zip(curve.bins, curve.bins[1:], strict=False):
        assert after.start.iteration == before.end.iteration + 1


def test_values_that_are_no_numbers_are_only_counted():
    values = [math.nan, 1.0, math.inf, 3.0] * CAPACITY
    curve = filled(values, smooth=0.9)
    assert sum(part.points for part in curve.bins) == len(values)
    assert {(part.low, part.high, part.mean) for part in curve.bins} == {(1.0, 3.0, 2.0)}


def test_smoothing_does_not_depend_on_the_bins():
    values = [math.sin(step / 100) for step in range(3 * CAPACITY)]
    smooth, state, weight, expected = 0.9, 0.0, 0.0, []
    for value in values:
        state, weight = smooth * state + (1 - smooth) * value, smooth * weight + 1 - smooth
        expected.append(state / weight)
    curve = filled(values, smooth=smooth)
    begin = 0
    for part in curve.bins:
        own = expected[begin : begin + part.points]
        assert part.smoothed == pytest.approx(sum(own) / len(own))
        begin += part.points
    assert begin == len(values)


def test_a_rewound_curve_goes_on_as_if_nothing_had_been_after():
    curve = filled([5.0, 5.0, 100.0, 100.0], smooth=0.5)
    removed = curve.rewind(lambda start: start < Place(1, 3))
    assert [(part.start.iteration, part.mean) for part in removed] == [(3, 100.0), (4, 100.0)]
    curve.add(Place(1, 3), 5.0)
    assert [part.smoothed for part in curve.bins] == [5.0, 5.0, 5.0]
    assert curve.replaced == 2


def test_rewinding_leaves_at_most_one_bin_of_older_points():
    curve = filled([1.0] * (4 * CAPACITY))
    curve.rewind(lambda start: start < Place(1, 1000))
    assert curve.bins[-1].start < Place(1, 1000)
    assert curve.bins[-1].end < Place(1, 1000 + curve.width)
    assert curve.replaced == 4 * CAPACITY - sum(part.points for part in curve.bins)


def test_only_a_rewind_takes_points_away():
    curve = filled([1.0])
    curve.add(Place(1, 1), 2.0)
    assert [part.mean for part in curve.bins] == [1.0, 2.0]


def test_sums_of_huge_values_stay_numbers():
    curve = filled([1.7e308, 1.0, -1.7e308, 1.7e308] * CAPACITY)
    assert {part.mean for part in curve.bins} == {1.0}
    assert curve.bins[0].first == 1.7e308


def test_removed_points_are_kept_in_bounded_memory():
    older, points = Curve(), 0
    for _ in range(5):
        curve = filled([1.0, 3.0] * CAPACITY)
        removed = curve.rewind(lambda start: start < Place(1, 100))
        points += sum(part.points for part in removed)
        older.extend(removed)
    assert len(older.bins) <= CAPACITY
    assert sum(part.points for part in older.bins) == points
    assert {part.mean for part in older.bins} == {2.0}
