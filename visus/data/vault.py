"""The vault: test images can be had by a look alone, and each look is a line in the ledger."""

from __future__ import annotations

from typing import Any

from visus import ledger as book
from visus.errors import UsageError
from visus.ledger import Ledger


class Vault:
    """Holds the test images. `len(vault)` and `classes_counts` tell how many there are."""

    def __init__(self, images: Any, classes: list[str]):
        self.__images = images
        targets = images.targets
        counted = getattr(targets, "ndim", 0) == 1 and not targets.is_floating_point()
        seen = targets.bincount(minlength=len(classes)).tolist() if counted else []
        self.classes_counts = dict(zip(classes, seen, strict=False))

    def __len__(self) -> int:
        return len(self.__images)

    def look(self, reason: str, ledger: Ledger) -> Any:
        """The test images, for `reason`; writes a line `look {number, reason, n}` first.

        What was seen may be written by the caller in a second line of the same number. Raises
        `UsageError` without a reason or a ledger to count in.
        """
        if not isinstance(ledger, Ledger) or not reason:
            raise UsageError("vault: a look at test needs a reason and the ledger of the run")
        ledger.write("look", number=self.looks(ledger) + 1, reason=reason, n=len(self))
        ledger.sync()
        return self.__images

    @staticmethod
    def looks(ledger: Ledger) -> int:
        """How many looks the ledger has counted, those of earlier processes included."""
        on_disk = ledger.path is not None and ledger.path.exists()
        lines = book.read(ledger.path) if on_disk and ledger.path else ledger.lines
        return len({line.get("number") for line in book.select(lines, "look")})
