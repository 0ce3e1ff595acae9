"""Files from the net: only those whose sha256 is known, kept in the cache folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import urljoin

from visus.data.cache import home
from visus.errors import DataError


def fetch(name: str, file: str, base: str, sha256: str) -> Path:
    """The local copy of `file` of the data set `name`, downloaded from `base` at most once.

    `$VISUS_MIRROR` replaces `base` by `$VISUS_MIRROR/name/`. The file appears in the cache only
    after its checksum was right. Raises `DataError` where it cannot be had.
    """
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    mirror = os.environ.get("VISUS_MIRROR")
    url = urljoin(f"{mirror.rstrip('/')}/{name}/" if mirror else base, file)
    folder = home() / "downloads" / name
    try:
        found = pooch.retrieve(
            url, known_hash=f"sha256:{sha256}", fname=file, path=folder,
            downloader=pooch.HTTPDownloader(timeout=30),  # type: ignore[arg-type]
        )  # fmt: skip
    except ValueError as error:
        what = "its sha256 is not the known one" if "hash" in str(error) else str(error)
        raise DataError(f"download: {url}: {what}; set VISUS_MIRROR to another server") from None
    except OSError as error:  # requests' errors are among them
        raise DataError(
            f"download: cannot get {url}: {_reason(error)}; connect to the net, set VISUS_MIRROR "
            f"to a server that has it, or put the file into {folder}"
        ) from None
    return Path(found)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else f"{type(error).__name__}: {text[:120]}..."
