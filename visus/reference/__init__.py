"""Every layer of the lecture in NumPy float64, forward and backward, written to be read.

One file a topic. One convention: `f(x, ..., **options)` gives `y`, and
`f_backward(g, x, ..., **options)` takes the gradient `g = dL/dy` and the very arguments of `f`,
and gives a dict: the gradient of the loss by each argument that can learn, under the
argument's own name (`{"x": ..., "weight": ..., "bias": ...}`; an argument given as None is
left out). Nothing is kept between the two, nothing is changed in place, nothing is fast.

This is the specification that layers and kernels are tested against; it imports nothing of
visus but its errors, and nothing but tests and the lab imports it.
"""

from visus.reference import (
    activation,
    atrous,
    convolution,
    initialization,
    linear,
    loss,
    mixture,
    normalization,
    pooling,
    regularization,
)

__all__ = [
    "activation",
    "atrous",
    "convolution",
    "initialization",
    "linear",
    "loss",
    "mixture",
    "normalization",
    "pooling",
    "regularization",
]
