"""Sick, healthy and cured data for `test-drift`: test images are brighter and less sharp."""

from __future__ import annotations

from plots import audited, scenes


def other(images):
    return (images.float() * 0.7 + 60).round().clamp(0, 255).to(images.dtype)


def sick():
    return audited(scenes(300, seed=1), other(scenes(150, seed=2)))


def healthy():
    return audited(scenes(300, seed=1), scenes(150, seed=2))


def cured():
    """Train images are of both kinds."""
    train, test = scenes(300, seed=1), scenes(150, seed=2)
    train[::2], test[::2] = other(train[::2]), other(test[::2])
    return audited(train, test)
