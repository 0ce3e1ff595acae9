"""The layers of the lecture as torch.nn modules, with torch.nn's names, signatures and state keys.

    from visus.layers import BatchInstanceNorm2d, Maxout, ASPP

The families `norms`, `activations`, `losses` and `inits` find them by their recipe names.
"""

from visus.layers.activation import *  # noqa: F403
from visus.layers.activation import activations as activations
from visus.layers.aspp import ASPP as ASPP
from visus.layers.convolution import *  # noqa: F403
from visus.layers.init import *  # noqa: F403
from visus.layers.init import inits as inits
from visus.layers.loss import *  # noqa: F403
from visus.layers.loss import losses as losses
from visus.layers.norm import *  # noqa: F403
from visus.layers.norm import norms as norms
from visus.layers.optimize import optimize as optimize
from visus.layers.optimize import restore as restore
from visus.layers.pool import *  # noqa: F403
from visus.layers.regularize import *  # noqa: F403
