"""Bytes of an image file to pixels: every mode that occurs becomes 8-bit grey or RGB.

Only the formats in `FORMATS` are opened: others of Pillow start programs (EPS) or are no
pictures. What is done with each mode is told in docs/data.md. No torch here.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps

from visus.data.found import Look, Shape, Size, Unreadable

# A picture of 64 million pixels is 8000 x 8000; a "bomb" of some bytes claims a hundred times that.
MAX_PIXELS = 64_000_000
GREY = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_WIDE = {"I", "I;16", "I;16B", "I;16L", "I;16N"}
_ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}
_WANTED = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "MPO", "AVIF")
SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp",
    ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".mpo", ".avif",
}  # fmt: skip

Image.init()
FORMATS = tuple(name for name in _WANTED if name in Image.OPEN)


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow's warnings (odd EXIF, many pixels) are not for the user: what matters is an error.

    Enter it in the thread that starts the workers; the filters hold for all threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_image(data: bytes) -> Image.Image:
    """The image in `data`, header read, within `MAX_PIXELS`; raises `Unreadable`."""
    if not data:
        raise Unreadable("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise Unreadable(f"more than {MAX_PIXELS:,} pixels") from None
    except Exception as error:
        raise Unreadable(_why(error, "not an image")) from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise Unreadable(f"{width} x {height} pixels, more than {MAX_PIXELS:,}")
    if not width or not height:
        raise Unreadable(f"{width} x {height} pixels")
    return image


def seen_size(image: Image.Image) -> Size:
    """(height, width) after the rotation that EXIF asks for."""
    width, height = image.size
    return (width, height) if _turned(image) >= 5 else (height, width)


def _turned(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; files without EXIF are not parsed any further."""
    if image.format in ("JPEG", "MPO") and "exif" not in image.info:
        return 1
    try:
        found = image.getexif().get(0x0112, 1)
    except Exception:  # broken EXIF is no reason to refuse the picture
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


class Encoded:
    """One opened image file, not decoded yet, as a `Picture`."""

    def __init__(self, image: Image.Image):
        self.image = image

    @property
    def look(self) -> Look:
        """Size and greyness by the header."""
        grey = self.image.mode in GREY and "transparency" not in self.image.info
        return Look(seen_size(self.image), grey)

    def pixels(self, shape: Shape) -> np.ndarray:
        """The decoded image."""
        return to_pixels(self.image, shape)


def to_pixels(image: Image.Image, shape: Shape) -> np.ndarray:
    """Decode, rotate, convert, resize and crop: uint8 of `shape` (C, H, W).

    The short side is resized (bilinear, antialiased) so that (H, W) just fits, then the centre
    is cut out. Raises `Unreadable` where the file ends early or is damaged.
    """
    channels, size = shape[0], (shape[1], shape[2])
    try:
        if image.format == "JPEG" and image.size != size[::-1]:
            # libjpeg skips frequencies that the resize would remove: 8 times faster on photos.
            image.draft(None, (size[1] * 2, size[0] * 2))
        image.load()
        if _turned(image) != 1:
            image = ImageOps.exif_transpose(image)
        flat = fit(to_mode(image, channels), size)
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(_why(error, "truncated or damaged")) from None
    array = np.asarray(flat)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def to_mode(image: Image.Image, channels: int) -> Image.Image:
    """8-bit grey ("L") or "RGB"; transparent pixels show white."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode in _WIDE or image.mode == "F":
        image = Image.fromarray(narrow(np.asarray(image)))
    elif image.mode in _ALPHA or "transparency" in image.info:
        image = _on_white(image.convert("RGBA"))
    elif image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image if image.mode == mode else image.convert(mode)


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def narrow(values: np.ndarray) -> np.ndarray:
    """16-bit values (divided by 257) or floats in [0, 1] (times 255) as uint8, rounded."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    most = 1.0 if values.dtype.kind == "f" else 65535.0
    if not 0.0 <= low <= high <= most:
        raise Unreadable(f"values from {low:.6g} to {high:.6g}; 0 to {most:.6g} can be read")
    return np.rint(values.astype(np.float64) * (255.0 / most)).astype(np.uint8)


def fit(image: Image.Image, size: Size) -> Image.Image:
    """Resize the short side and cut out the centre, in one resampling."""
    (height, width), (h, w) = size, image.size[::-1]
    if (h, w) == (height, width):
        return image
    scale = min(h / height, w / width)
    across, down = width * scale, height * scale
    left, top = (w - across) / 2, (h - down) / 2
    box = (left, top, left + across, top + down)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def _why(error: Exception, what: str) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return what
    text = " ".join(str(error).split())[:120] or type(error).__name__
    return f"{what}: {text}"
