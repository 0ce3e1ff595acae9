"""What the four Triton passes must compute, in float64 and one line each.

Run as a program it compares them and prints one line of JSON for each case; the tests start
it in a process of its own with TRITON_INTERPRET=1, where no GPU is at hand, so that the
interpreter does not leak into other tests. `--break PASS` spoils one pass, to show that the
comparison sees it.
"""

from __future__ import annotations

import argparse
import json
import warnings
from typing import Any

import torch

SHAPES = [(2, 5, 7, 9), (1, 2, 40, 60), (3, 70, 1, 1), (2, 1, 1, 130)]
ACTS = {"none": 0.0, "relu": 0.0, "leaky-relu": 0.2, "elu": 0.7, "sigmoid": 0.0, "tanh": 0.0}
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}  # fmt: skip


def activate(z: torch.Tensor, act: str, alpha: float) -> torch.Tensor:
    """The activation by torch, in float64."""
    F = torch.nn.functional
    return {
        "none": lambda: z.clone(),
        "relu": lambda: F.relu(z),
        "leaky-relu": lambda: F.leaky_relu(z, alpha),
        "elu": lambda: F.elu(z, alpha),
        "sigmoid": lambda: torch.sigmoid(z),
        "tanh": lambda: torch.tanh(z),
    }[act]()


def layout(x: torch.Tensor, kind: str) -> torch.Tensor:
    """`x` contiguous, channels last, or as every second element of a larger tensor."""
    if kind == "channels-last":
        return x.contiguous(memory_format=torch.channels_last)
    if kind == "strided":
        return torch.stack([x, x], -1)[..., 0]
    if kind == "row-padded":
        return torch.nn.functional.pad(x, (0, 3))[..., : x.shape[-1]]
    return x


def wide(t: torch.Tensor) -> torch.Tensor:
    return t.double().reshape(-1, t.shape[-1], 1, 1)


def errors(backend: Any, x: torch.Tensor, act: str, seed: int) -> dict[str, float]:
    """Largest errors of each pass, in units of what a rounding of its result may be."""
    torch.manual_seed(seed)
    X, alpha = x.double(), ACTS[act]
    mean, rest, var = backend.moments(x)
    M = X.mean((2, 3))
    R = (X - wide(M)).mean((2, 3))  # what rounding left of the mean
    V = (X - wide(M) - wide(R)).square().mean((2, 3))
    off = (mean.double() - M) + (rest.double() - R)
    found = {
        "mean": (off.abs() / (V.sqrt() + 1e-30)).max(),
        "var": ((var.double() - V).abs() / (V + 1e-30)).max(),
    }
    numbers = [torch.randn(x.shape[:2], dtype=mean.dtype, device=x.device) for _ in range(5)]
    scale, shift, p, q, r = numbers
    scale = scale / (var + 1e-5).sqrt()
    q = q / (var + 1e-5)
    if seed % 3 == 0:  # numbers that the samples share, as a batch norm has them
        scale, shift, q = scale[:1], shift[0], q[:1]
    D = X - wide(mean) - wide(rest)
    Z = (D * wide(scale) + wide(shift)).requires_grad_()
    Y = activate(Z, act, alpha)
    g = layout(torch.randn(x.shape, device=x.device).to(x.dtype), "contiguous")
    Y.backward(g.double())
    H = Z.grad
    assert H is not None
    given = (mean, rest, scale, shift)
    y = backend.apply(x, *given, act, alpha)
    found["apply"] = ((y.double() - Y).abs() / (1 + Y.abs())).max()
    sg, sgx = backend.sums(g, x, *given, act, alpha)
    found["sums g"] = ((sg - H.sum((2, 3))).abs() / (1 + H.abs().sum((2, 3)))).max()
    found["sums gx"] = ((sgx - (H * D).sum((2, 3))).abs() / (1e-9 + (H * D).abs().sum((2, 3)))).max()  # fmt: skip
    dx = backend.write(g, x, *given, p, q, r, act, alpha)
    DX = wide(p) * H + wide(q) * D + wide(r)
    size = 1 + (wide(p) * H).abs() + (wide(q) * D).abs() + wide(r).abs()
    found["write"] = ((dx.double() - DX).abs() / size).max()
    unit = torch.finfo(x.dtype).eps
    exact = max(torch.finfo(mean.dtype).eps, 1e-16)
    fine = {"mean", "var", "sums g", "sums gx"}
    return {key: float(e) / (exact if key in fine else unit) for key, e in found.items()}


def spoil(backend: Any, name: str) -> None:
    """A backend with one wrong pass: naive variance, or results off by a thousandth."""
    if name == "moments":

        def naive(x):
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            mean = x.mean((2, 3))
            return mean, mean * 0, (x * x).mean((2, 3)) - mean * mean

        backend.moments = naive
        return
    right = getattr(backend, name)

    def off(*args):
        out = right(*args)
        return tuple(t * 1.1 for t in out) if isinstance(out, tuple) else out * 1.1

    setattr(backend, name, off)


def cases(device: str) -> Any:
    """Every pass over layouts, dtypes, activations and means; fewer of each in the interpreter."""
    dtypes = list(DTYPES)
    seed = 0
    for shape in SHAPES:
        for kind in ("contiguous", "channels-last", "strided", "row-padded"):
            for act in ACTS if device == "cuda" else [list(ACTS)[seed % len(ACTS)]]:
                for dtype in dtypes if device == "cuda" else [dtypes[seed // 2 % 4]]:
                    for mean in (0.0, 1e4) if device == "cuda" else [(0.0, 1e4)[seed % 2]]:
                        seed += 1
                        yield shape, kind, act, dtype, mean, seed
    yield from every_activation()


def every_activation() -> Any:
    """Each activation once in float32 and once in float64."""
    seed = 100
    for act in ACTS:
        for dtype in ("float32", "float64"):
            seed += 1
            yield (2, 3, 4, 5), "contiguous", act, dtype, (0.0, 1e4)[seed % 2], seed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--break", dest="broken")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    from visus.kernels import triton_backend as backend

    if options.broken:
        spoil(backend, options.broken)
    chosen = every_activation() if options.broken else cases(options.device)
    for shape, kind, act, dtype, mean, seed in chosen:
        torch.manual_seed(seed)
        x = torch.randn(shape, dtype=torch.float64) + mean
        x = layout(x.to(DTYPES[dtype]).to(options.device), kind)
        found = errors(backend, x, act, seed)
        name = f"{shape} {kind} {act} {dtype} mean {mean:g}"
        print(json.dumps({"case": name, "errors": found}), flush=True)


if __name__ == "__main__":
    main()
