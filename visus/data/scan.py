"""The first pass over a source: the checksum of every image, and which cannot be read at all.

The second pass (`store.py`) decodes every image once, unless the cache knows these checksums,
so that each file that cannot be decoded in full is known, and named, before training starts.
"""

from __future__ import annotations

from dataclasses import dataclass

from visus.data.crew import chunks, in_order
from visus.data.decode import SUFFIXES
from visus.data.found import Bad, Found, Images, Unreadable
from visus.errors import DataError


@dataclass(frozen=True)
class Scan:
    """The images of `found` that could be read, with their sha256, and the files left out."""

    found: Found
    sums: list[str]
    bad: list[Bad]

    def take(self, keep: list[int]) -> Scan:
        """Only the images in `keep`."""
        return Scan(self.found.take(keep), [self.sums[i] for i in keep], self.bad)


def scan(found: Found, workers: int | None = None) -> Scan:
    """Read every file once. Files that cannot be read are no error here: they are in `bad`."""
    seen = [
        item
        for part in in_order(lambda i: _checksum(found.images, i), chunks(len(found)), workers)
        for item in part
    ]
    bad = [item for item in seen if isinstance(item, Bad)]
    keep = [i for i, item in enumerate(seen) if isinstance(item, str)]
    sums = [item for item in seen if isinstance(item, str)]
    return Scan(found.take(keep) if bad else found, sums, bad)


def _checksum(images: Images, i: int) -> str | Bad:
    try:
        return images.checksum(i)
    except Unreadable as error:
        return bad_image(images.names[i], str(error))


def bad_image(name: str, reason: str) -> Bad:
    """A file left out; text files and the like, which claim no image suffix, are no bad images."""
    dot = name.rfind(".")
    claims = dot > name.rfind("/") and name[dot:].lower() in SUFFIXES
    return Bad(name, reason, claims or not reason.startswith("not an image"))


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
