"""The contract of every schedule: a pure function of the share done, with a factor in [0, 1]."""

from __future__ import annotations

from math import isfinite

import pytest

from visus.family import Family
from visus.training.schedules import schedules

DONE = [i / 1000 for i in range(1001)]


def check(table: Family, name: str) -> None:
    """Raise where the schedule `name` breaks the contract."""
    schedule = table[name]
    factors = [schedule(done) for done in DONE]
    assert all(isinstance(f, float) and isfinite(f) for f in factors), (
        "a factor is no finite number"
    )
    assert all(0.0 <= f <= 1.0 for f in factors), "a factor lies outside [0, 1]"
    assert max(factors) == pytest.approx(1.0, abs=1e-3), "the peak rate is never reached"
    assert factors[0] > 0.0, "the first step would do nothing"
    again = [schedule(done) for done in reversed(DONE)]
    assert again == factors[::-1], "the factor depends on what was asked before"
    peak = max(range(len(DONE)), key=factors.__getitem__)
    assert factors[: peak + 1] == sorted(factors[: peak + 1]), "it falls before its peak"
    last = max(i for i, f in enumerate(factors) if f == max(factors))
    assert factors[last:] == sorted(factors[last:], reverse=True), "it rises after its peak"
    check_options(table, name)


def check_options(table: Family, name: str) -> None:
    for warmup in (0.0, 0.5, 1.0):
        factors = [table[name](done, warmup=warmup) for done in DONE]
        assert all(0.0 <= f <= 1.0 for f in factors), f"outside [0, 1] with warmup={warmup}"


@pytest.mark.parametrize("name", schedules)
def test_every_schedule(name):
    check(schedules, name)


broken = Family("schedule")
seen: list[float] = []


@broken.member
def too_large(done: float, *, warmup: float = 0.1) -> float:
    return 1.2 - done


@broken.member
def remembers(done: float, *, warmup: float = 0.1) -> float:
    seen.append(done)
    return max(0.0, 1.0 - len(seen) / 5000)


@broken.member
def starts_at_zero(done: float, *, warmup: float = 0.1) -> float:
    return min(1.0, done / 0.1)


@broken.member
def never_peaks(done: float, *, warmup: float = 0.1) -> float:
    return 0.5


@pytest.mark.parametrize("name", broken)
def test_the_contract_finds_broken_schedules(name):
    with pytest.raises(AssertionError):
        check(broken, name)
