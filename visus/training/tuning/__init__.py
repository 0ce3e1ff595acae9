"""Hyper-parameters by search on validation: `Tuning` carries a study out, `Space` is what varies."""

from visus.training.tuning.dimension import Tree, given, put
from visus.training.tuning.space import Space
from visus.training.tuning.study import Tuning

__all__ = ["Space", "Tree", "Tuning", "given", "put"]
