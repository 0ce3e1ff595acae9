"""Small pictures for the audits of the sick ward, and an audit that gives its signals."""

from __future__ import annotations

import torch

from visus.api import audit
from visus.data import prepare


def scenes(n, seed, side=24):
    """uint8 `(n, 3, side, side)`: smooth random backgrounds with a few random rectangles."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 5, 5, generator=g)
    images = torch.nn.functional.interpolate(coarse, side, mode="bicubic")
    for _ in range(6):
        corner = torch.randint(0, side - 6, (n, 2), generator=g)
        size = torch.randint(2, 7, (n, 2), generator=g)
        color = torch.rand(n, 3, generator=g)
        for k in range(n):
            (y, x), (h, w) = corner[k].tolist(), size[k].tolist()
            images[k, :, y : y + h, x : x + w] = color[k][:, None, None]
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def dataset(train, test, held=None, *targets):
    """Arrays as a data set with the splits as they are; without targets two classes in turn."""
    held = scenes(60, seed=4) if held is None else held
    sets = {"train": train, "test": test, "validation": held}
    given = targets or [torch.arange(len(images)) % 2 for images in sets.values()]
    return prepare({name: (images.numpy(), labels.numpy())
                    for (name, images), labels in zip(sets.items(), given, strict=True)})  # fmt: skip


def audited(train, test, held=None, *targets):
    """The signals of the full audit."""
    return audit(dataset(train, test, held, *targets), seconds=0).signals  # labels: a linear model
