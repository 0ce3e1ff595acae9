"""The table of networks, and how one is built or chosen."""

from __future__ import annotations

import importlib.util
from typing import Annotated, Any

from torch import nn

from visus.errors import RecipeError, unknown
from visus.family import Family, Range

networks = Family("model", package=__package__)
Width = Annotated[int, Range(0.5, 2, log=True, times=True, step=4)]


def build(
    name: str, channels: int, classes: int, size: tuple[int, int], **options: Any
) -> nn.Module:
    """A freshly initialized network: `(N, channels, *size)` images to `(N, classes)` logits.

    `name` is a member of `networks`, or, where timm is installed, any name timm knows;
    "auto" stands for `choose(size)`. Raises `RecipeError` for an unknown name or option.
    """
    name = choose(size) if name == "auto" else name
    if name not in networks and (found := _timm(name, channels, classes, options)) is not None:
        return found
    return networks.make(name, channels, classes, size, **options)


def choose(size: tuple[int, int], per_pixel: bool = False) -> str:
    """The network that suits images of `size` (H, W) when the user does not say.

    Up to 16 pixels a plain CNN; to 128 the fast residual net; above it ResNet-18, whose
    stem divides the sides by four before the first residual block. Trained from nothing on one
    core for five minutes, the fast net halved the error of ResNet-18 at 96 pixels (PACS).
    `per_pixel` asks for one that answers every pixel.
    """
    if per_pixel:
        return "pyramid"
    longest = max(size)
    return "cnn" if longest <= 16 else "fast" if longest <= 128 else "resnet18"


def _timm(name: str, channels: int, classes: int, options: dict[str, Any]) -> nn.Module | None:
    if importlib.util.find_spec("timm") is None:
        return None
    import timm  # type: ignore[import-not-found]

    if not timm.is_model(name):
        close = timm.list_models(f"{name[:4]}*")[:200]
        raise RecipeError(unknown("model", name, [*networks, *close][:12]))
    # timm nets bring their own norm and activation: only what timm shares is passed on.
    ours = {"norm", "activation", "dropout"}
    extra = {key: value for key, value in options.items() if key not in ours}
    drop = {"drop_rate": options["dropout"]} if options.get("dropout") else {}
    return timm.create_model(
        name, pretrained=False, in_chans=channels, num_classes=classes, **drop, **extra
    )
