"""A class for every pixel."""

from __future__ import annotations

import base64
import io
from functools import cached_property
from math import nan
from typing import Any

import torch
from torch import Tensor, nn

from visus.training import measures
from visus.training.tasks import Line, Task, tasks
from visus.training.tasks.seen import Seen

IGNORED, SHOWN, SIDE = 255, 9, 192
PALETTE = [
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75),
    (227, 119, 194), (188, 189, 34), (23, 190, 207), (80, 80, 160), (174, 199, 232), (255, 187, 120),
    (152, 223, 138), (255, 152, 150), (197, 176, 213), (196, 156, 148),
]  # fmt: skip


class Pixels(Seen):
    """`said` `(n, K, K)`: pixels of each image by true and said class, ignored ones left out."""

    classes: list[str]

    @cached_property
    def errors(self) -> Tensor:
        """1 - mean intersection over union of each image, over the classes that occur in it."""
        right, either = _overlap(self.said.double())
        return 1 - (right / either.where(either > 0, nan)).nanmean(1).nan_to_num(1.0)

    def _mean_iou(self, w: Tensor) -> Tensor:
        right, either = _overlap(self._summed(w))
        asked = self._summed(w).sum(2) > 0
        return (right / either).where(asked, nan).nanmean(1)

    def _summed(self, w: Tensor) -> Tensor:
        flat = self.said.double().flatten(1)
        return (w @ flat).view(len(w), *self.said.shape[1:])

    @property
    def error(self) -> float:
        """1 - mean IoU of the whole set, over the classes that occur in its masks."""
        return 1 - measures.number(self._mean_iou, len(self)) if len(self) else nan

    @property
    def interval(self) -> tuple[float, float]:
        """By bootstrap over images: pixels of one image are no independent draws."""
        return measures.interval(lambda w: 1 - self._mean_iou(w), len(self))

    def metrics(self) -> list[dict[str, Any]]:
        n = len(self)

        def right(w: Tensor) -> Tensor:
            cells = self._summed(w)
            return cells.diagonal(dim1=1, dim2=2).sum(1) / cells.sum((1, 2))

        return [
            measures.row("mean intersection over union", self._mean_iou, n),
            measures.row("pixels right", right, n),
            *(
                measures.row(f"IoU of {name}", self._iou(k), n)
                for k, name in enumerate(self.classes)
            ),
        ]

    def _iou(self, k: int) -> measures.Statistic:
        def of(w: Tensor) -> Tensor:
            cells = self._summed(w)
            right, either = _overlap(cells)
            return (right[:, k] / either[:, k]).where(cells[:, k].sum(1) > 0, nan)

        return of


def _overlap(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection and union `(B, K)` of confusion matrices `(B, K, K)`."""
    right = cells.diagonal(dim1=1, dim2=2)
    return right, cells.sum(1) + cells.sum(2) - right


@tasks.member
class Segmentation(Task):
    """Cross entropy of each pixel that is not ignored; error: 1 - mean intersection over union.

    `void` names one more class number that is ignored, beside 255 (-1: none).
    """

    losses = ("cross-entropy",)
    per_pixel, mirror = True, True
    noun, axis = "1 − mean IoU", "1 − mean intersection over union"

    def __init__(self, names: list[str], facts: dict[str, Any] | None = None, *, void: int = -1):
        super().__init__(names, facts)
        self.void = void

    def loss_given(self, name: str) -> dict[str, Any]:
        return {"ignore_index": IGNORED}

    def loss(self, loss: nn.Module, outputs: Tensor, targets: Tensor) -> Tensor:
        truth = self._kept(targets)
        if not (truth != IGNORED).any():
            return outputs.sum() * 0.0  # nothing is asked: no gradient and not 0 / 0
        return loss(outputs, truth)

    def _kept(self, targets: Tensor) -> Tensor:
        truth = targets.long()
        return truth.masked_fill(truth == self.void, IGNORED) if self.void >= 0 else truth

    def gather(self, outputs: Tensor, targets: Tensor) -> Tensor:
        k = len(self.names)
        truth, said = self._kept(targets).flatten(1), outputs.argmax(1).flatten(1)
        place = torch.where(truth < k, truth * k + said, k * k)
        cells = torch.zeros(len(place), k * k + 1, dtype=torch.int64, device=place.device)
        return cells.scatter_add_(1, place, torch.ones_like(place))[:, :-1].view(-1, k, k).cpu()

    def mirrored(self, outputs: Tensor, flipped: Tensor) -> Tensor:
        return ((outputs.softmax(1) + flipped.flip(3).softmax(1)) / 2).clamp_min(1e-12).log()

    def read(self, said: Tensor, targets: Tensor, names: list[str], loss: float) -> Pixels:
        seen = Pixels(said, targets, names, loss)
        seen.classes = self.names
        return seen

    def rows(self, outputs: Tensor, top: int) -> list[dict[str, Any]]:
        return [self._row(mask) for mask in outputs.argmax(1)]

    def _row(self, mask: Tensor) -> dict[str, Any]:
        counts = torch.bincount(mask.flatten(), minlength=len(self.names)).tolist()
        shares = {n: c / mask.numel() for n, c in zip(self.names, counts, strict=True) if c}
        return {"pixels": shares, "mask": mask.to(torch.uint8)}

    def lines(self, seen: Pixels, images: Any, model: nn.Module) -> list[Line]:
        cells = seen.said.sum(0)
        order = seen.errors.argsort().tolist()
        few = (
            torch.linspace(0, len(order) - 1, min(SHOWN, len(order))).long().tolist()
            if order
            else []
        )
        items = [self._overlay(seen, images, model, order[k]) for k in few]
        colors = [
            {"class": name, "color": "#{:02x}{:02x}{:02x}".format(*color(k))}
            for k, name in enumerate(self.names)
        ]
        return [
            ("overlays", {"items": items, "colors": colors}),
            (
                "confusion",
                {
                    "classes": self.names,
                    "matrix": (cells / 1000).tolist(),
                    "unit": "thousand pixels",
                },
            ),
        ]

    @torch.no_grad()
    def _overlay(self, seen: Pixels, images: Any, model: nn.Module, i: int) -> dict[str, Any]:
        pixels = images.batch(torch.tensor([i]))
        weight = next(model.parameters(), pixels)
        said = model(pixels.to(weight.device).float() / 255).argmax(1)[0].cpu()
        truth = self._kept(images.targets[torch.tensor([i])])[0]
        return {
            "name": seen.names[i], "error": float(seen.errors[i]), "png": painted(pixels[0], None),
            "true": painted(pixels[0], truth), "said": painted(pixels[0], said),
        }  # fmt: skip

    def labels(self, targets: Tensor) -> list[str]:
        return ["" for _ in range(len(targets))]


def color(k: int) -> tuple[int, int, int]:
    """A fixed colour for each class; after sixteen they are spread over the circle of hues."""
    if k < len(PALETTE):
        return PALETTE[k]
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb((k * 0.618) % 1, 0.7, 0.9)
    return int(red * 255), int(green * 255), int(blue * 255)


def painted(image: Tensor, mask: Tensor | None) -> str:
    """A base64 PNG of a uint8 image `(C, H, W)` under the colours of a mask; ignored ones grey."""
    from PIL import Image

    base = image.expand(3, -1, -1).permute(1, 2, 0).float()
    if mask is not None:
        table = torch.full((256, 3), 128.0)
        table[:IGNORED] = torch.tensor([color(k) for k in range(IGNORED)]).float()
        base = 0.4 * base + 0.6 * table[mask.long()]
    picture = Image.fromarray(base.round().to(torch.uint8).numpy())
    if max(picture.size) > SIDE:
        picture.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()
