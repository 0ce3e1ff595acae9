"""The rule `test-drift`."""

from __future__ import annotations

from visus.doctor.rules import Finding, rule
from visus.doctor.rules.split_unrepresentative import drifted
from visus.doctor.signals import Signals


@rule(asks=())
def test_drift(s: Signals) -> Finding | None:
    """Test images are of another kind than training images.

    What: a classifier tells test from training images (another camera, brightness, encoding,
    another time), or their classes come in other shares.
    Why: the test error then holds the price of the drift beside that of imperfect learning, and
    no choice on validation data can lower it.
    How: an audit of the data, of pixels alone: half of both sets train a classifier to tell them
    apart, the other half judges it (a binomial p-value); classes are compared by chi-squared.
    Cure: train on images like those of test: collect some, or jitter training images the way
    they differ (`jitter.color`, `jitter.affine`); or draw test anew if it should be alike.
    Not: a test set meant to be of another kind; the finding then says how far it is off.
    Source: Lopez-Paz, Oquab 2017, Revisiting classifier two-sample tests; Rabanser, Guennemann,
    Lipton 2019, Failing loudly.
    """
    return drifted(s, "test", [
        "collect training images like those of test, or jitter training images the way test images differ",
        "draw test anew from all images if both should be of one kind"])  # fmt: skip
