"""Data: from a folder, file, name or object to train and validation images and a vault for test.

`prepare` does it all; `jitters` change training images; `batch_indices` orders them.
"""

from visus.data.again import Again
from visus.data.batches import batch_indices, epoch_order, steps_per_epoch
from visus.data.images import Dataset, ImageSet
from visus.data.jitter import Jitter, jitter_default, jitters
from visus.data.mirror import mirrored
from visus.data.outside import every, picture
from visus.data.prepare import describe, prepare, record
from visus.data.scan import Scan, scan
from visus.data.sources import open_source, sources
from visus.data.split import Split
from visus.data.thumbnail import thumbnail
from visus.data.vault import Vault

__all__ = [
    "Again",
    "Dataset",
    "ImageSet",
    "Jitter",
    "Scan",
    "Split",
    "Vault",
    "batch_indices",
    "describe",
    "epoch_order",
    "every",
    "jitter_default",
    "jitters",
    "mirrored",
    "open_source",
    "picture",
    "prepare",
    "record",
    "scan",
    "sources",
    "steps_per_epoch",
    "thumbnail",
]
