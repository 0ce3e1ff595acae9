"""How the learning rate moves: pure functions of the share of the training that is done.

To add a schedule, define here `name(done, *, options) -> factor` with `@schedules.member`:
`done` runs from 0 (first step) to 1 (end), the factor multiplies the peak rate of the recipe
and lies in [0, 1]. A schedule holds no state, so resume, forks and trials cannot lose it.
"""

from __future__ import annotations

from math import cos, pi
from typing import Annotated

from visus.family import Family, Range

schedules = Family("schedule")


@schedules.member
def one_cycle(
    done: float, *, warmup: Annotated[float, Range(0.05, 0.5)] = 0.3, start: float = 0.04,
    end: float = 0.0001,
) -> float:  # fmt: skip
    """Up from `start` to 1 in the share `warmup`, then down to `end`, both along half a cosine.

    Smith & Topin 2019, "Super-convergence", with cosines for the lines.
    """
    if done < warmup:
        return _glide(start, 1.0, done / warmup)
    return _glide(1.0, end, (done - warmup) / (1.0 - warmup) if warmup < 1 else 0.0)


@schedules.member
def cosine(
    done: float, *, warmup: Annotated[float, Range(0.0, 0.3)] = 0.05, end: float = 0.0
) -> float:
    """A linear `warmup`, then `end + (1 - end) * (1 + cos(pi t)) / 2` (Loshchilov & Hutter 2017)."""
    if done < warmup:
        return _warm(done, warmup)
    return _glide(1.0, end, (done - warmup) / (1.0 - warmup) if warmup < 1 else 0.0)


@schedules.member
def step(
    done: float, *, drops: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1, warmup: float = 0.0
) -> float:
    """Times `factor` at each share of `drops`, after a linear `warmup` (He et al. 2016)."""
    return _warm(done, warmup) * factor ** sum(done >= drop for drop in drops)


@schedules.member
def constant(done: float, *, warmup: Annotated[float, Range(0.0, 0.3)] = 0.0) -> float:
    """The peak rate throughout, after a linear `warmup`."""
    return _warm(done, warmup)


def _warm(done: float, warmup: float) -> float:
    # Never 0: the first step would move nothing but the momentum.
    return 1.0 if done >= warmup else 0.01 + 0.99 * done / warmup


def _glide(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1.0 + cos(pi * min(share, 1.0))) / 2.0
