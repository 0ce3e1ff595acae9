"""The first pass over a source: checksum, size and greyness of every image, by header.

The second pass (`store.py`) decodes every image once, so that each file that cannot be read in
full is known, and named, before training starts.
"""

from __future__ import annotations

from dataclasses import dataclass

from visus.data.crew import chunks, in_order
from visus.data.decode import SUFFIXES
from visus.data.found import Bad, Found, Header, Images, Size, Unreadable
from visus.errors import DataError

SMALL = 96  # sides up to here are kept as they are when all images agree
SIDE = 64  # the side of larger or mixed images, at most


@dataclass(frozen=True)
class Scan:
    """Headers of the readable images of `found`, in its order, and the files left out."""

    found: Found
    headers: list[Header]
    bad: list[Bad]

    def shape(self, channels: int | None, size: int | None) -> tuple[int, Size]:
        """Channels and (height, width) to decode to: as told, else chosen from the data."""
        if channels is None:
            channels = 1 if all(header.grey for header in self.headers) else 3
        return channels, (size, size) if size else choose_size([h.size for h in self.headers])


def scan(found: Found, workers: int | None = None) -> Scan:
    """Read every file once. Returns what is readable so far; raises nothing for bad files."""
    seen = [
        item
        for part in in_order(lambda i: _header(found.images, i), chunks(len(found)), workers)
        for item in part
    ]
    keep = [i for i, item in enumerate(seen) if isinstance(item, Header)]
    bad = [item for item in seen if isinstance(item, Bad)]
    headers = [item for item in seen if isinstance(item, Header)]
    return Scan(found if not bad else found.take(keep), headers, bad)


def _header(images: Images, i: int) -> Header | Bad:
    try:
        return images.header(i)
    except Unreadable as error:
        return bad_image(images.names[i], str(error))


def bad_image(name: str, reason: str) -> Bad:
    """A file left out; text files and the like, which claim no image suffix, are no bad images."""
    dot = name.rfind(".")
    claims = dot > name.rfind("/") and name[dot:].lower() in SUFFIXES
    return Bad(name, reason, claims or not reason.startswith("not an image"))


def choose_size(sizes: list[Size]) -> Size:
    """The common size where all images have one of at most 96 x 96; else a square.

    Its side is the median short side, at most 64, in steps of 8.
    """
    if len(set(sizes)) == 1 and max(sizes[0]) <= SMALL:
        return sizes[0]
    short = sorted(min(size) for size in sizes)[len(sizes) // 2]
    side = min(SIDE, short)
    side = side - side % 8 if side >= 8 else side
    return side, side


def refuse(found: Found, bad: list[Bad], max_bad: float) -> None:
    """Raise `DataError` where more than `max_bad` of the images are unreadable."""
    broken = [item for item in bad if item.image]
    total = len(found) + len(broken)
    if total and len(broken) > max_bad * total:
        share = len(broken) / total
        named = ", ".join(f"{item.name} ({item.reason})" for item in broken[:3])
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise DataError(
            f"data: {len(broken)} of {total} images in {found.source} are unreadable "
            f"({share:.1%}, limit {max_bad:.1%}): {named}{more}; mend or remove them, or go on "
            f"without them with --set data.max_bad={min(1.0, share + 0.005):.2f}"
        )
