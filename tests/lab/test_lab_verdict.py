"""Verdicts: each side of a limit, intervals that reach across, and numbers that are none."""

import math

import numpy as np
import pytest
from scipy import stats

from visus.lab.experiment import FAILS, HOLDS, OPEN, Check, interval, verdict


def test_the_interval_is_students():
    x = [1.0, 2.0, 4.0, 3.5]
    low, high = stats.t.interval(0.95, 3, np.mean(x), stats.sem(x))
    assert interval(x) == pytest.approx((np.mean(x), low, high))


def test_ratios_are_averaged_by_their_logarithms():
    mean, low, high = interval([0.5, 2.0], ratio=True)
    assert mean == pytest.approx(1.0)
    assert low * high == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("values", "side", "state"),
    [
        ([1.0, 1.1, 0.9], "<", HOLDS),
        ([1.0, 1.1, 0.9], ">", FAILS),
        ([3.0, 3.1, 2.9], ">", HOLDS),
        ([1.0, 3.0, 2.0], "<", OPEN),
        ([1.0], "<", OPEN),
        ([], "<", FAILS),
        ([math.nan, 1.0, 1.0], "<", FAILS),
        ([2.0, 2.0, 2.0], "<", FAILS),
        ([2.0, 2.0, 2.0], ">", FAILS),
    ],
)
def test_states(values, side, state):
    assert Check("x", values, side, 2.0).state() == state


def test_the_worst_check_decides():
    good, bad = Check("x", [1.0, 1.1], "<", 9.0), Check("x", [1.0, 1.1], ">", 9.0)
    unsure = Check("x", [0.0, 9.0], "<", 5.0)
    assert verdict([good]) == HOLDS
    assert verdict([good, unsure]) == OPEN
    assert verdict([unsure, bad, good]) == FAILS
    assert verdict([]) == OPEN
