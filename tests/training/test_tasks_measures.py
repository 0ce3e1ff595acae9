"""Measures of tasks against scikit-learn and SciPy, their weights against repeated samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics

from visus.training import measures
from visus.training.measures import number

DRAW = np.random.default_rng(0)
N = 200
SCORES = DRAW.normal(size=N).round(1)  # rounded: ties
TRUTH = DRAW.random(N) < 0.3 + 0.3 * (SCORES > 0)
VALUES = SCORES + DRAW.normal(size=N).round(1)
S, T, V = torch.tensor(SCORES), torch.tensor(TRUTH), torch.tensor(VALUES)
CASES = {
    "auc": (measures.auc(S, T), metrics.roc_auc_score(TRUTH, SCORES)),
    "average precision": (measures.average_precision(S, T), metrics.average_precision_score(TRUTH, SCORES)),
    "r squared": (measures.r_squared(S, V), metrics.r2_score(VALUES, SCORES)),
    "kendall": (measures.kendall(S, V), stats.kendalltau(SCORES, VALUES)[0]),
    "mean": (measures.mean(S), SCORES.mean()),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_measures_are_those_of_others(name):
    statistic, expected = CASES[name]
    assert number(statistic, N) == pytest.approx(float(expected), abs=1e-9)


def test_misordered_pairs_by_counting_them():
    pairs = [(i, j) for i in range(60) for j in range(60) if VALUES[i] > VALUES[j]]
    wrong = sum(0.5 if SCORES[i] == SCORES[j] else float(SCORES[i] < SCORES[j]) for i, j in pairs)
    assert number(measures.misordered(S[:60], V[:60]), 60) == pytest.approx(wrong / len(pairs))


@pytest.mark.parametrize("name", CASES)
def test_a_weight_is_a_repetition(name):
    times = torch.randint(0, 3, (N,), generator=torch.Generator().manual_seed(1))
    s, t, v = (x.repeat_interleave(times) for x in (S, T, V))
    again = {
        "auc": measures.auc(s, t), "average precision": measures.average_precision(s, t),
        "r squared": measures.r_squared(s, v), "kendall": measures.kendall(s, v),
        "mean": measures.mean(s),
    }[name]  # fmt: skip
    weighed = CASES[name][0](times.double()[None])[0]
    assert float(weighed) == pytest.approx(number(again, len(s)), abs=1e-9)


def test_the_interval_is_that_of_a_mean():
    values = torch.tensor(np.random.default_rng(1).normal(3, 2, 4000))
    low, high = measures.interval(measures.mean(values), 4000)
    half = 1.96 * float(values.std()) / 4000**0.5
    assert low == pytest.approx(float(values.mean()) - half, abs=half / 4)
    assert high == pytest.approx(float(values.mean()) + half, abs=half / 4)


def test_nothing_to_measure_is_no_number():
    one = torch.ones(3, dtype=torch.bool)
    row = measures.row("AUC", measures.auc(torch.rand(3), one), 3)
    assert row["value"] is None and row["interval"] is None
    assert np.isnan(number(measures.mean(torch.zeros(0)), 0))
    assert all(np.isnan(measures.interval(measures.mean(torch.zeros(1)), 1)))
