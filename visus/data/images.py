"""`ImageSet`: some images of a data set, by number, as bytes; `Dataset`: all that training needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from visus.data.found import Bad, Size
from visus.data.split import Split
from visus.data.store import Store
from visus.errors import UsageError

if TYPE_CHECKING:
    from visus.data.vault import Vault


class ImageSet:
    """`targets` int64 `(n,)`, `names`, and the pixels of any of them by `batch`."""

    def __init__(self, store: Store, rows: Sequence[int], targets: Sequence[int], names: list[str]):
        self._store, self._rows = store, np.asarray(rows, dtype=np.int64)
        self.targets, self.names = torch.tensor(targets, dtype=torch.int64), names

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, indices: Tensor) -> Tensor:
        """uint8 `(B, C, H, W)`, a copy, of the images at `indices` int64 `(B,)`, in their order.

        The same bytes whether the images are cached or decoded now. Raises `UsageError` for an
        index outside 0 ... n-1, `DataError` for a file that cannot be read any more.
        """
        chosen = torch.as_tensor(indices, dtype=torch.int64).cpu().numpy()
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < len(self)):
            raise UsageError(
                f"batch: index {int(chosen.max() if chosen.min() >= 0 else chosen.min())} of {len(self)} images"
            )
        return torch.from_numpy(self._store.rows(self._rows[chosen]))


@dataclass(frozen=True)
class Dataset:
    """What `prepare` makes of a source.

    `mean` and `std` are per channel, in units of [0, 1], of the train images alone; `size` is
    (H, W); `bad` names the files that were left out. The test images are in `vault`.
    """

    name: str
    source: str
    classes: list[str]
    channels: int
    size: Size
    train: ImageSet
    validation: ImageSet
    vault: Vault
    split: Split
    mean: list[float]
    std: list[float]
    bad: list[Bad]
