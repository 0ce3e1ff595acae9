"""Jitter: random changes of training images that leave their class alone, on whole batches.

A member of `jitters` is a class whose call takes float images `(N, C, H, W)` in [0, 1], targets
and a CPU generator, and returns new images of the same shape and range, and targets. What it
draws comes from that generator alone, small tensors of one number an image, on the CPU: the
same on any device and any number of threads. A new jitter is a new file in this folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

from visus.data.batches import seed_of
from visus.errors import RecipeError, UsageError
from visus.family import Family

jitters = Family("jitter", package=__name__)
IGNORED = 255  # of a mask


class Member(Protocol):
    """One jitter. `mixes` tells that it needs targets as probabilities `(N, K)`."""

    mixes: bool

    def __call__(
        self, images: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """New images and targets; the input is left as it is."""
        ...


class Jitter:
    """Several jitters in the order of the table; a function of (seed, step) and nothing else.

    Each member draws from a generator of its own, so that switching one off changes nothing in
    the others. `classes` is the number K of classes, needed where a member mixes images.
    """

    def __init__(self, table: Mapping[str, Mapping[str, Any]], *, classes: int):
        self.classes = classes
        self.members: dict[str, Member] = {
            name: jitters.make(name, **options) for name, options in table.items()
        }

    def __call__(
        self, images: Tensor, targets: Tensor, seed: int, step: int
    ) -> tuple[Tensor, Tensor]:
        """Jittered images, float `(N, C, H, W)` in [0, 1], and targets.

        Targets come back as they came, int64 `(N,)`, or as probabilities `(N, K)` where a
        member mixes images. Masks `(N, H, W)` go through the same moves as their images.
        """
        if not images.is_floating_point() or images.ndim != 4:
            raise UsageError(
                f"jitter: images are {images.dtype} {tuple(images.shape)}; give floats (N, C, H, W) in [0, 1]"
            )
        mixes = [name for name, member in self.members.items() if member.mixes]
        if mixes and targets.ndim == 3:
            raise RecipeError(f"jitter {mixes[0]}: masks cannot be blended; leave it out")
        if targets.ndim == 1 and mixes:
            targets = nn.functional.one_hot(targets, self.classes).to(images.dtype)
        spatial = targets.ndim == 3
        for name, member in self.members.items():
            number = seed_of("jitter", seed, step, name)
            before = images
            images, targets = member(images, targets, torch.Generator().manual_seed(number))
            if spatial and (move := getattr(member, "move", None)) is not None:
                # The same draws move the mask; what comes in from outside is ignored.
                planes = (targets.to(before.dtype) + 1).unsqueeze(1)
                moved = move(planes, torch.Generator().manual_seed(number), labels=True)
                numbers = moved.squeeze(1).round().long() - 1
                targets = torch.where(numbers < 0, IGNORED, numbers).to(targets.dtype)
        return images, targets


def jitter_default(
    channels: int, size: tuple[int, int], name: str = "", *, mirror: bool = True
) -> dict[str, dict]:
    """What "auto" means: shifts by an eighth of the side; mirror images of color images alone.

    Not `mirror` where an image and its mirror image may have other answers, such as an angle.

    Grey images are mostly letters, digits and scans, whose mirror image is another thing;
    clothes (fashion-mnist) may be mirrored.
    """
    crop = {"crop": {"padding": max(1, min(size) // 8)}}
    mirrored = mirror and (channels == 3 or name == "fashion-mnist")
    return {"flip": {}, **crop} if mirrored else crop


def within(what: str, value: float, low: float, high: float) -> float:
    """`value`, or a `RecipeError` that names the option and its range."""
    if not low <= value <= high:
        raise RecipeError(f"{what} = {value!r}; give a number from {low:g} to {high:g}")
    return value
