"""`ImageSet`: some images of a data set, by number, as bytes; `Dataset`: all that training needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    """`targets` int64 `(n,)`, `names`, and the pixels of any of them by `batch`.

    Beyond classes targets are float32 `(n, T)`, or masks uint8 `(n, H, W)` with 255 ignored.
    """

    def __init__(self, store: Store, rows: Sequence[int], targets: Any, names: list[str]):
        self._store, self._rows = store, np.asarray(rows, dtype=np.int64)
        known = isinstance(targets, Tensor)
        self.targets: Any = targets if known else torch.tensor(targets, dtype=torch.int64)
        self.names = names

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


class PairSet:
    """Pairs of images, with the face of an ImageSet whose items are pairs.

    `batch(indices)` gives both images of each pair, the better first: `(2 B, C, H, W)`;
    `targets[indices]` float32 `(2 B, 2)` rows (number of the pair, 1 for the better else 0).
    """

    def __init__(self, images: ImageSet, pairs: np.ndarray):
        self.images, self.pairs = images, torch.from_numpy(pairs.reshape(-1, 2).astype(np.int64))
        self.names = [f"{images.names[a]} > {images.names[b]}" for a, b in self.pairs.tolist()]
        self.targets: Any = _PairTargets(len(self.pairs))

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, indices: Tensor) -> Tensor:
        """uint8 `(2 B, C, H, W)`."""
        return self.images.batch(self.pairs[torch.as_tensor(indices)].flatten())


class _PairTargets:
    def __init__(self, n: int):
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, indices: Any) -> Tensor:
        numbers = torch.arange(self.n)[indices].reshape(-1).repeat_interleave(2).float()
        return torch.stack([numbers, (torch.arange(len(numbers)) % 2 == 0).float()], 1)


@dataclass(frozen=True)
class Dataset:
    """What `prepare` makes of a source.

    `mean` and `std` are per channel, in units of [0, 1], of the train images alone; `size` is
    (H, W); `bad` names the files that were left out. The test images are in `vault`. `task` is what
    the targets are read as, `natural` what they would be unless asked otherwise, and `classes`
    the names of the outputs.
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
    task: str = "classification"
    natural: str = "classification"
