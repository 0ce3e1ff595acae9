"""The numbers of an audit, one file a question; `visus.api.audit` puts them together."""

from visus.data.audit.channels import Channels, channels
from visus.data.audit.drift import Drift, compare, looks, shares_differ, told_apart
from visus.data.audit.duplicates import Copies, find_copies
from visus.data.audit.features import Words, features
from visus.data.audit.labels import Suspects, suspects
from visus.data.audit.linear import out_of_fold
from visus.data.audit.sealed import Joined, Untold, pixels
from visus.data.audit.sizes import Sizes, sizes

__all__ = [
    "Channels",
    "Copies",
    "Drift",
    "Joined",
    "Sizes",
    "Suspects",
    "Untold",
    "Words",
    "channels",
    "compare",
    "features",
    "find_copies",
    "looks",
    "out_of_fold",
    "pixels",
    "shares_differ",
    "sizes",
    "suspects",
    "told_apart",
]  # fmt: skip
