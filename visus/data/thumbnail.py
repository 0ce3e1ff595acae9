"""A small picture of an image for the ledger."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from torch import Tensor

SIDE = 96


def thumbnail(image: Tensor) -> str:
    """A PNG, base64, of a uint8 tensor `(C, H, W)` with C 1 or 3; at most 96 pixels a side.

    A float tensor in [0, 1] is taken too.
    """
    if image.is_floating_point():
        image = (image.clamp(0, 1) * 255).round()
    array = image.detach().cpu().numpy().astype(np.uint8)
    picture = Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0).copy())
    picture.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()
