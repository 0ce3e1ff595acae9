"""MNIST and Fashion-MNIST: 70,000 grey images of 28x28, from their IDX files."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from visus.data.arrays import found_arrays
from visus.data.download import fetch
from visus.data.found import Found
from visus.data.sources import Source, sources
from visus.errors import DataError

BASE = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion-mnist": "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
}
SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
}
CLOTHES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]  # fmt: skip


@sources.member
class Mnist(Source):
    """LeCun, Cortes & Burges 1998; Xiao, Rasul & Vollgraf 2017. train and test as published."""

    names = ("mnist", "fashion-mnist")

    def open(self, what: str) -> Found:
        """60,000 train and 10,000 test images, downloaded once."""
        parts = [
            (split, _idx(what, f"{stem}-images-idx3"), _idx(what, f"{stem}-labels-idx1"))
            for split, stem in (("train", "train"), ("test", "t10k"))
        ]
        return found_arrays(what, what, parts, CLOTHES if what == "fashion-mnist" else None)


def _idx(name: str, stem: str) -> np.ndarray:
    file = f"{stem}-ubyte.gz"
    return read_idx(fetch(name, file, BASE[name], SHA256[name][file]))


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of bytes: 0, 0, 8, dimensions, their sizes as big-endian int32, the data."""
    try:
        data = gzip.decompress(path.read_bytes())
        dimensions = data[3]
        head = 4 + 4 * dimensions
        shape = np.frombuffer(data[4:head], ">i4").tolist()
        if data[:3] != b"\0\0\x08" or len(shape) != dimensions:
            raise ValueError("no IDX file of bytes")
        return np.frombuffer(data, np.uint8, offset=head).reshape(shape)
    except (OSError, ValueError, EOFError, IndexError, zlib.error) as error:
        raise DataError(f"data: cannot read {path}: {error}; remove it to get it anew") from None
