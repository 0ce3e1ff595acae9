"""ONNX operators run by layers: each adapter translates attributes, nothing more.

An adapter is `(nn, opset, inputs, attributes, outputs) -> results`, where `nn` is the
namespace that holds the layer classes (`visus.layers`, or `torch.nn` to test the adapter
itself). `node` and `disk` are the numbers of cases that must have passed, so that the selection
cannot shrink unseen (0: visus has no such layer, which the summary says; None: no such cases).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from onnx.numpy_helper import to_array
from suites import NotOurs

from visus.family import Family

operators = Family("operator")
LEAST: dict[str, tuple[int | None, int | None]] = {}
CLASSES: dict[str, str] = {}


def operator(name: str, layer: str, *, node: int | None = None, disk: int | None = None) -> Any:
    """Register the adapter of ONNX operator `name`, served by the class `layer`."""
    LEAST[name], CLASSES[name] = (node, disk), layer
    return operators.member(name)


def layer(nn: Any, name: str, *args: Any, **options: Any) -> torch.nn.Module:
    """The module `name` of the namespace, or the reason that it has none."""
    cls = getattr(nn, name, None)
    if cls is None:
        raise NotOurs(f"visus.layers has no {name}")
    return cls(*args, **options)


def load(module: torch.nn.Module, **tensors: Any) -> torch.nn.Module:
    """`module` in the dtype of the given tensors, holding them under the given names."""
    given = {key: value for key, value in tensors.items() if value is not None}
    module = module.to(next(iter(given.values())).dtype) if given else module
    missing, unexpected = module.load_state_dict(given, strict=False)
    left = [key for key in missing if key != "num_batches_tracked"]
    assert not left and not unexpected, (left, unexpected)
    return module


# ---- windows: padding as ONNX says it, and one dimension served by two ----------------


def window(x: torch.Tensor, kernel: list, attributes: dict) -> dict:
    """kernel, stride, dilation and (begin, end) pads for each axis, with auto_pad resolved."""
    axes = len(kernel)
    stride = list(attributes.get("strides") or [1] * axes)
    dilation = list(attributes.get("dilations") or [1] * axes)
    pads = list(attributes.get("pads") or [0] * (2 * axes))
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    pairs = list(zip(pads[:axes], pads[axes:], strict=True))
    if auto.startswith("SAME"):
        pairs = [
            _same(*sizes, upper=auto == "SAME_UPPER")
            for sizes in zip(x.shape[2:], kernel, stride, dilation, strict=True)
        ]
    return {"kernel": list(kernel), "stride": stride, "dilation": dilation, "pairs": pairs}


def _same(size: int, kernel: int, stride: int, dilation: int, *, upper: bool) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return (total // 2, total - total // 2) if upper else (total - total // 2, total // 2)


def lift(nn: Any, kind: str, x: torch.Tensor, w: dict) -> tuple[torch.Tensor, dict, str, bool]:
    """Serve one spatial axis by the two-dimensional layer where there is no other."""
    axes = len(w["kernel"])
    name = f"{kind}{axes}d"
    if axes == 1 and not hasattr(nn, name):
        w = {key: [(0, 0) if key == "pairs" else 1, *value] for key, value in w.items()}
        return x.unsqueeze(2), w, f"{kind}2d", True
    return x, w, name, False


def padded(x: torch.Tensor, w: dict, value: float, *, pool: bool) -> tuple[torch.Tensor, list]:
    """Pads a torch.nn layer can take are its own business; others are written out before it."""
    if all(begin == end for begin, end in w["pairs"]) and not (pool and _wide(w)):
        return x, [begin for begin, _ in w["pairs"]]
    flat = [pad for pair in reversed(w["pairs"]) for pad in pair]
    return F.pad(x, flat, value=value), [0] * len(w["pairs"])


def _wide(w: dict) -> bool:
    return any(begin > k // 2 for (begin, _), k in zip(w["pairs"], w["kernel"], strict=True))


@operator("Conv", "Conv2d", node=6, disk=20)
def conv(nn, opset, inputs, attributes, outputs):
    x, weight, bias = (*inputs, None)[:3]
    w = window(x, list(weight.shape[2:]), attributes)
    x, w, name, lifted = lift(nn, "Conv", x, w)
    x, padding = padded(x, w, 0.0, pool=False)
    weight = weight.unsqueeze(2) if lifted else weight
    groups = attributes.get("group", 1)
    module = layer(
        nn, name, weight.shape[1] * groups, weight.shape[0], tuple(w["kernel"]),
        stride=tuple(w["stride"]), padding=tuple(padding), dilation=tuple(w["dilation"]),
        groups=groups, bias=bias is not None,
    )  # fmt: skip
    y = load(module, weight=weight, bias=bias)(x)
    return [y.squeeze(2) if lifted else y]


@operator("MaxPool", "MaxPool2d", node=15, disk=6)
def max_pool(nn, opset, inputs, attributes, outputs):
    x = inputs[0] if inputs[0].is_floating_point() else inputs[0].float()
    planes, sizes = x.shape[0] * x.shape[1], x.shape[2:]
    w = window(x, attributes["kernel_shape"], attributes)
    x, w, name, lifted = lift(nn, "MaxPool", x, w)
    x, padding = padded(x, w, -torch.inf, pool=True)
    options = {"return_indices": True} if outputs > 1 else {}
    module = layer(
        nn, name, tuple(w["kernel"]), stride=tuple(w["stride"]), padding=tuple(padding),
        dilation=tuple(w["dilation"]), ceil_mode=bool(attributes.get("ceil_mode", 0)), **options,
    )  # fmt: skip
    if outputs == 1:
        return [module(x).squeeze(2) if lifted else module(x)]
    y, index = module(x)
    return [y, whole_index(index, planes, sizes, attributes.get("storage_order", 0))]


def whole_index(index: torch.Tensor, planes: int, sizes: Any, column_major: int) -> torch.Tensor:
    """ONNX counts over the whole tensor, PyTorch within its plane."""
    if column_major:
        height, width = sizes
        index = index // width + index % width * height
    start = torch.arange(planes).reshape(index.shape[:2]) * int(np.prod(sizes))
    return index + start.reshape(*index.shape[:2], *[1] * len(sizes))


@operator("AveragePool", "AvgPool2d", node=13, disk=4)
def average_pool(nn, opset, inputs, attributes, outputs):
    x = inputs[0]
    w = window(x, attributes["kernel_shape"], attributes)
    if any(d != 1 for d in w["dilation"]):
        raise NotOurs("torch.nn's average pooling, whose signature we keep, has no dilation")
    count_all = bool(attributes.get("count_include_pad", 0))
    ceil = bool(attributes.get("ceil_mode", 0))
    x, w, name, lifted = lift(nn, "AvgPool", x, w)
    shares = torch.tensor(1.0)
    inner = x
    x, padding = padded(x, w, 0.0, pool=True)
    written = x is not inner
    if written and ceil:
        raise NotOurs("uneven padding together with ceil_mode is not a torch.nn pooling")
    module = layer(
        nn, name, tuple(w["kernel"]), stride=tuple(w["stride"]), padding=tuple(padding),
        ceil_mode=ceil, count_include_pad=count_all,
    )  # fmt: skip
    if written and not count_all:  # what share of each window lies inside the image
        shares = module(padded(torch.ones_like(inner), w, 0.0, pool=True)[0])
    y = module(x) / shares
    return [y.squeeze(2) if lifted else y]


@operator("GlobalAveragePool", "AdaptiveAvgPool2d", node=2)
def global_average_pool(nn, opset, inputs, attributes, outputs):
    return [layer(nn, "AdaptiveAvgPool2d", 1)(inputs[0])]


@operator("GlobalMaxPool", "MaxPool2d", node=2)
def global_max_pool(nn, opset, inputs, attributes, outputs):
    return [layer(nn, "MaxPool2d", tuple(inputs[0].shape[2:]))(inputs[0])]


# ---- normalization --------------------------------------------------------------------


def norm_name(kind: str, x: torch.Tensor) -> str:
    return f"{kind}{max(x.dim() - 2, 1)}d"


@operator("BatchNormalization", "BatchNorm2d", node=4, disk=5)
def batch_norm(nn, opset, inputs, attributes, outputs):
    """ONNX keeps `momentum` of the old value, torch.nn takes it of the new; ONNX's running
    variance is the biased one."""
    x, scale, bias, mean, var = inputs
    keep = attributes.get("momentum", 0.9)
    training = bool(attributes.get("training_mode", 0))
    module = layer(
        nn, norm_name("BatchNorm", x), x.shape[1], eps=attributes.get("epsilon", 1e-5),
        momentum=1 - keep,
    )  # fmt: skip
    load(module, weight=scale, bias=bias, running_mean=mean, running_var=var).train(training)
    y = module(x)
    if not training:
        return [y]
    count = x.numel() // x.shape[1]
    new = (module.running_var - keep * var) * (count - 1) / count
    return [y, module.running_mean, keep * var + new]


@operator("InstanceNormalization", "InstanceNorm2d", node=2, disk=1)
def instance_norm(nn, opset, inputs, attributes, outputs):
    x, scale, bias = inputs
    module = layer(
        nn, norm_name("InstanceNorm", x), x.shape[1], eps=attributes.get("epsilon", 1e-5),
        affine=True,
    )  # fmt: skip
    return [load(module, weight=scale, bias=bias)(x)]


@operator("GroupNormalization", "GroupNorm", node=2)
def group_norm(nn, opset, inputs, attributes, outputs):
    x, scale, bias = inputs
    module = layer(
        nn, "GroupNorm", attributes["num_groups"], x.shape[1],
        eps=attributes.get("epsilon", 1e-5),
    )  # fmt: skip
    return [load(module, weight=scale, bias=bias)(x)]


@operator("LayerNormalization", "LayerNorm", node=19)
def layer_norm(nn, opset, inputs, attributes, outputs):
    x, scale, bias = (*inputs, None)[:3]
    shape = tuple(x.shape[attributes.get("axis", -1) % x.dim() :])
    module = layer(nn, "LayerNorm", shape, eps=attributes.get("epsilon", 1e-5))
    bias = torch.zeros_like(scale) if bias is None else bias
    return [load(module, weight=scale.expand(shape), bias=bias.expand(shape))(x)]


@operator("MeanVarianceNormalization", "BatchNorm2d", node=1)
def mean_variance_norm(nn, opset, inputs, attributes, outputs):
    if list(attributes.get("axes", [0, 2, 3])) != [0, 2, 3]:
        raise NotOurs("MeanVarianceNormalization over other axes than (0, 2, 3)")
    return [layer(nn, "BatchNorm2d", inputs[0].shape[1], affine=False, eps=1e-18)(inputs[0])]


# ---- activations ----------------------------------------------------------------------


def plain(name: str, cls: str, options: dict | None = None, **least: int | None) -> None:
    """An elementwise operator: `options` maps ONNX attributes to (keyword, default)."""

    def adapter(nn, opset, inputs, attributes, outputs):
        given = {k: attributes.get(a, d) for a, (k, d) in (options or {}).items()}
        return [layer(nn, cls, **given)(inputs[0])]

    adapter.__name__ = adapter.__qualname__ = f"plain_{name}"
    operator(name, cls, **least)(adapter)


plain("Relu", "ReLU", node=1, disk=1)
plain("Sigmoid", "Sigmoid", node=2, disk=3)
plain("Tanh", "Tanh", node=2, disk=3)
plain("LeakyRelu", "LeakyReLU", {"alpha": ("negative_slope", 0.01)}, node=3, disk=2)
plain("Elu", "ELU", {"alpha": ("alpha", 1.0)}, node=3, disk=1)


def softmax_like(name: str, cls: str, **least: int | None) -> None:
    """Before opset 13 the axes from `axis` on are flattened into one."""

    def adapter(nn, opset, inputs, attributes, outputs):
        x, module = inputs[0], layer(nn, cls, dim=1)
        if opset < 13:
            start = attributes.get("axis", 1) % x.dim()
            return [module(x.reshape(int(np.prod(x.shape[:start])), -1)).reshape(x.shape)]
        return [layer(nn, cls, dim=attributes.get("axis", -1))(x)]

    adapter.__name__ = adapter.__qualname__ = f"softmax_{name}"
    operator(name, cls, **least)(adapter)


softmax_like("Softmax", "Softmax", node=7, disk=4)
softmax_like("LogSoftmax", "LogSoftmax", node=7, disk=3)


# ---- dropout, linear, losses ----------------------------------------------------------


@operator("Dropout", "Dropout", node=8)
def dropout(nn, opset, inputs, attributes, outputs):
    x, ratio, training = (*inputs, None, None)[:3]
    share = 0.5 if ratio is None else float(ratio)
    on = training is not None and bool(training)
    if on and share:
        raise NotOurs("the expected mask is drawn by NumPy's generator")
    y = layer(nn, "Dropout", share).train(on)(x)
    return [y, torch.ones_like(x, dtype=torch.bool)][: 1 if outputs == 1 else 2]


@operator("Gemm", "Linear", node=10, disk=2)
def gemm(nn, opset, inputs, attributes, outputs):
    a, b, c = (*inputs, None)[:3]
    a = a.T if attributes.get("transA", 0) else a
    weight = (b if attributes.get("transB", 0) else b.T) * attributes.get("alpha", 1.0)
    bias = None if c is None else c * attributes.get("beta", 1.0)
    if bias is not None and bias.dim() == 2 and bias.shape[0] != 1:
        raise NotOurs("a bias for each row is no linear layer")
    bias = bias if bias is None else bias.reshape(-1).expand(weight.shape[0])
    module = layer(nn, "Linear", weight.shape[1], weight.shape[0], bias=bias is not None)
    return [load(module, weight=weight, bias=bias)(a)]


def _loss(nn, cls, inputs, attributes):
    x, target, weight = (*inputs, None)[:3]
    reduction = attributes.get("reduction", b"mean").decode()
    options = {} if weight is None else {"weight": weight}
    if "ignore_index" in attributes:
        options["ignore_index"] = attributes["ignore_index"]
    return layer(nn, cls, reduction=reduction, **options)(x, target.long())


@operator("NegativeLogLikelihoodLoss", "NLLLoss", node=18)
def nll_loss(nn, opset, inputs, attributes, outputs):
    return [_loss(nn, "NLLLoss", inputs, attributes)]


@operator("SoftmaxCrossEntropyLoss", "CrossEntropyLoss", node=34)
def cross_entropy_loss(nn, opset, inputs, attributes, outputs):
    return [_loss(nn, "CrossEntropyLoss", inputs, attributes)]


# ---- glue: what the exported models put between layers; no layer, nothing to check ----

GLUE: dict[str, Any] = {
    "Constant": lambda inputs, attributes: [torch.as_tensor(to_array(attributes["value"]).copy())],
    "Neg": lambda inputs, attributes: [-inputs[0]],
    "Add": lambda inputs, attributes: [inputs[0] + inputs[1]],
    "Mul": lambda inputs, attributes: [inputs[0] * inputs[1]],
    "MatMul": lambda inputs, attributes: [inputs[0] @ inputs[1]],
    "Transpose": lambda inputs, attributes: [inputs[0].permute(*attributes["perm"])],
    "Unsqueeze": lambda inputs, attributes: [inputs[0].unsqueeze(attributes["axes"][0])],
    "Squeeze": lambda inputs, attributes: [inputs[0].squeeze(attributes["axes"][0])],
    "Split": lambda inputs, attributes: inputs[0].split(
        attributes.get("split", inputs[0].shape[attributes["axis"]] // 2), dim=attributes["axis"]
    ),
}
