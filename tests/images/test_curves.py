from __future__ import annotations

import numpy as np
import pytest

from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.curves import (
    COLOURS,
    LONGEST_MEAN,
    WIDTH,
    Curve,
    Panel,
    chart,
    log_ticks,
    number,
    running_mean,
    ticks,
    window_of,
)


def test_a_running_mean_is_that_of_the_neighbours_there_are() -> None:
    assert running_mean([1, 2, 6, 3, 5], 3) == pytest.approx([1.5, 3, 11 / 3, 14 / 3, 4])
    assert running_mean([1, 2, 6], 1) == [1, 2, 6]
    assert running_mean([4.0] * 9, 5) == [4.0] * 9
    assert running_mean([], 3) == []


@pytest.mark.parametrize(
    ("count", "window"), [(1, 1), (19, 1), (20, 3), (500, 51), (10_000, LONGEST_MEAN + 1)]
)
def test_a_window_is_odd_and_a_tenth(count: int, window: int) -> None:
    assert window_of(count) == window


@pytest.mark.parametrize(
    ("low", "high", "wanted", "expected"),
    [
        (0, 500, 5, [0, 100, 200, 300, 400, 500]),
        (0, 1.1, 3, [0, 0.5, 1.0]),
        (-0.3, 0.42, 4, [-0.2, 0, 0.2, 0.4]),
        (0, 0.0031, 4, [0, 0.001, 0.002, 0.003]),
    ],
)
def test_ticks_are_round_and_inside(
    low: float, high: float, wanted: int, expected: list[float]
) -> None:
    found = ticks(low, high, wanted)
    assert found == pytest.approx(expected)
    assert all(low <= value <= high * 1.001 for value in found)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.09, 11, [0.1, 1, 10]),
        (0.08, 4, [0.1, 0.3, 1, 3]),
        (0.004, 0.06, [0.005, 0.01, 0.02, 0.05]),
        (0.004, 0.03, [0.005, 0.01, 0.02]),
    ],
)
def test_ticks_of_a_logarithmic_axis(low: float, high: float, expected: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.002, "0.002"), (1e-5, "1e-5"), (2.5e-4, "2.5e-4"), (150, "150"), (0.3, "0.3"),
     (10_000, "10k"), (12_500, "12.5k"), (0.1 + 0.2, "0.3")],
)  # fmt: skip
def test_numbers_are_short(value: float, shown: str) -> None:
    assert number(value) == shown


def _where(
    picture: np.ndarray, colour: tuple[int, int, int], within: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    # Thin lines are mixed with what is beside them.
    return np.nonzero((np.abs(picture.astype(int) - colour) < within).all(axis=-1))


def test_a_falling_curve_falls_and_the_higher_one_is_above() -> None:
    steps = list(range(1, 101))
    high = Curve("high", steps, [200.0 - s for s in steps], "line")
    low = Curve("low", steps, [150.0 - s for s in steps], "line")
    picture = np.asarray(chart([Panel("Values", [high, low])], "A title"))
    assert picture.shape[1] == WIDTH
    tops = {}
    for name, colour in (("high", COLOURS[0]), ("low", COLOURS[1])):
        ys, xs = _where(picture[118:], colour)  # below the legend
        tops[name] = {x: ys[xs == x].mean() for x in (300, 600, 900)}
        assert tops[name][300] < tops[name][600] < tops[name][900]
    assert all(tops["high"][x] < tops["low"][x] for x in tops["high"])
    # They are parallel, on a straight axis.
    gaps = [tops["low"][x] - tops["high"][x] for x in tops["low"]]
    assert gaps == pytest.approx([gaps[0]] * 3, abs=1.5)


def test_noise_is_light_and_its_mean_dark() -> None:
    steps = list(range(1, 201))
    noisy = Curve("loss", steps, [1.0 + 0.5 * (-1) ** s for s in steps])
    picture = np.asarray(chart([Panel("Loss", [noisy])], "A title"))[118:]
    ys, _ = _where(picture, COLOURS[0])
    light = tuple(round(255 - 0.3 * (255 - part)) for part in COLOURS[0])
    spread, _ = _where(picture, light, 12)
    assert np.ptp(ys) < 0.2 * np.ptp(spread)
    assert ys.mean() == pytest.approx((spread.min() + spread.max()) / 2, abs=5)


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0, 1e-9])
@pytest.mark.parametrize("kind", ["noisy", "line", "marks"])
def test_a_single_or_constant_value_can_be_shown(value: float, kind: str) -> None:
    for steps in ([1], [7], [1, 2, 3], [90, 91]):
        picture = np.asarray(
            chart([Panel("x", [Curve("x", steps, [value] * len(steps), kind)])], "t")
        )
        assert len(_where(picture[118:], COLOURS[0])[0]) > 0


def test_panels_make_it_higher_and_the_same_is_the_same() -> None:
    panel = Panel("x", [Curve("x", [1, 2], [1.0, 2.0])], 100)
    one, two = chart([panel], "t"), chart([panel, panel], "t")
    assert two.height - one.height > 100
    assert chart([panel], "t").tobytes() == one.tobytes()
    with pytest.raises(UsageError, match="There is no curve to show"):
        chart([], "t")
