"""The activations: what makes a stack of linear layers more than one linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from visus.errors import UsageError
from visus.family import Family

activations = Family("activation")


@activations.member("relu")
class ReLU(nn.ReLU):
    """`max(0, x)` at every element, any shape.

    Gradient: `g` where x > 0, else 0: it never saturates above zero, and a unit that is below
    zero for every input is dead. Source: Nair & Hinton 2010; He et al. 2015.
    """


@activations.member("leaky-relu")
class LeakyReLU(nn.LeakyReLU):
    """`x` where x > 0, else `negative_slope * x`, any shape.

    Gradient: `g`, or `negative_slope * g`: a unit below zero can come back. Source: Maas,
    Hannun & Ng 2013, eq. 2.
    """


@activations.member("elu")
class ELU(nn.ELU):
    """`x` where x > 0, else `alpha * (exp(x) - 1)`, any shape.

    Gradient: `g`, or `alpha * exp(x) * g`; the mean of the outputs is nearer to zero than
    ReLU's. Source: Clevert, Unterthiner & Hochreiter 2016, eq. 15.
    """


@activations.member("sigmoid")
class Sigmoid(nn.Sigmoid):
    """`s = 1 / (1 + exp(-x))`, any shape.

    Gradient: `g * s * (1 - s)`, at most g / 4 and near 0 for |x| > 5 (it saturates); the
    outputs are all positive. Source: Rumelhart, Hinton & Williams 1986.
    """


@activations.member("tanh")
class Tanh(nn.Tanh):
    """`t = tanh(x)`, any shape. Gradient: `g * (1 - t^2)`; zero-centered, saturates.

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.4.
    """


@activations.member("gelu")
class GELU(nn.GELU):
    """`x * Phi(x)` with the normal distribution function Phi. Source: Hendrycks & Gimpel 2016."""


@activations.member("silu")
class SiLU(nn.SiLU):
    """`x * sigmoid(x)`. Source: Elfwing, Uchibe & Doya 2018."""


@activations.member("none")
class Identity(nn.Identity):
    """`x` itself."""


class Maxout(nn.Module):
    """The largest of `pieces` neighbors along `dim`: `(N, C, *)` to `(N, C / pieces, *)`.

    After a linear layer or convolution with `pieces` times the outputs it is a learned convex
    activation: `max_j (w_j x + b_j)`. Gradient: all of g to the winner (the first of equals).
    Raises `UsageError` where C is no multiple of `pieces`. Source: Goodfellow et al. 2013, eq. 2.
    """

    def __init__(self, pieces: int = 2, dim: int = 1):
        super().__init__()
        if pieces < 1:
            raise UsageError(f"maxout: pieces is {pieces}; give at least 1")
        self.pieces, self.dim = pieces, dim

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[self.dim] % self.pieces:
            raise UsageError(
                f"maxout: {x.shape[self.dim]} channels are no multiple of {self.pieces} pieces; "
                "give the layer before it a multiple"
            )
        # max over a dimension would hand equal shares to equals (amax); max() picks one winner.
        return x.unflatten(self.dim, (-1, self.pieces)).max(self.dim % x.ndim + 1).values

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}, dim={self.dim}"


__all__ = [
    "ELU", "GELU", "Identity", "LeakyReLU", "Maxout", "ReLU", "SiLU", "Sigmoid", "Tanh", "activations",
]  # fmt: skip
