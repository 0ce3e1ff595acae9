"""The autograd node in C++: the same numbers as Python's, and all that autograd promises."""

from __future__ import annotations

import copy
import gc
import os
import resource
import subprocess
import sys
import threading
import weakref

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.utils.checkpoint import checkpoint

from visus import kernels
from visus.kernels import build, node, normalize
from visus.layers import norm

there = pytest.mark.skipif(not node.about()[0], reason=node.about()[1])

MAKE = {
    "batch": lambda s: norm.BatchNorm2d(s[1]),
    "fixed": lambda s: norm.BatchNorm2d(s[1]).eval(),
    "instance": lambda s: norm.InstanceNorm2d(s[1], affine=True),
    "group": lambda s: norm.GroupNorm(2, s[1]),
    "layer": lambda s: norm.LayerNorm(s[1:]),
    "width": lambda s: norm.LayerNorm(s[-1:], bias=False),
    "layer2d": lambda s: norm.LayerNorm2d(s[1]),
    "batch-instance": lambda s: norm.BatchInstanceNorm2d(s[1]),
}
SHAPE = (3, 6, 7, 9)


def made(name, shape=SHAPE, dtype=torch.float32):
    torch.manual_seed(1)
    module = MAKE[name](shape).to(dtype)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.2, 0.9)
    module.act = "elu"
    return module


def in_python(monkeypatch):
    """From here on the node is not asked."""
    monkeypatch.setattr(normalize.Algebra, "native", property(lambda self: node._nothing))


def results(module, x, g):
    x = x.detach().requires_grad_()
    y = module(x)
    return y, [y.detach(), *torch.autograd.grad(y, [x, *module.parameters()], g)]


HURTFUL = {
    "plain": lambda s: torch.randn(s) + 3,
    "far": lambda s: torch.randn(s) + 1e4,
    "constant": lambda s: torch.full(s, 4096.3),
    "nan": lambda s: torch.randn(s).index_fill(3, torch.tensor([1]), torch.nan),
    "channels-last": lambda s: torch.randn(s).contiguous(memory_format=torch.channels_last),
    "strided": lambda s: torch.randn(*s[:2], 2 * s[2], 3 * s[3])[:, :, ::2, 1::3],
    "permuted": lambda s: torch.randn(s[::-1]).permute(3, 2, 1, 0),
}
GRADIENTS = {
    "dense": torch.randn_like,
    "expanded": lambda x: torch.ones(()).expand(x.shape),
    "other layout": lambda x: torch.randn(x.shape[::-1]).permute(3, 2, 1, 0),
}


@there
@pytest.mark.parametrize("kind", HURTFUL)
@pytest.mark.parametrize("name", MAKE)
def test_the_same_numbers_as_python(name, kind, monkeypatch):
    module, x = made(name), HURTFUL[kind](SHAPE)
    twin, found = copy.deepcopy(module), {}
    for dtype in (torch.float32, torch.bfloat16):
        for way, gradient in GRADIENTS.items():
            g = gradient(x).to(dtype)
            y, found[dtype, way] = results(module, x.to(dtype), g)
            assert type(y.grad_fn).__name__ == "CppFunction"
            found[dtype, way] += [g, y.stride(), *(b.clone() for b in module.buffers())]
    in_python(monkeypatch)
    for (dtype, _), (*mine, g, stride, a, b, c) in (
        (key, [*v, *[torch.zeros(1)] * (3 if name not in ("batch", "fixed", "batch-instance") else 0)])
        for key, v in found.items()
    ):  # fmt: skip
        y, theirs = results(twin, x.to(dtype), g)
        assert "Normalize" in type(y.grad_fn).__name__ and y.stride() == stride
        for one, two in zip([*mine, a, b, c], [*theirs, *(*twin.buffers(), *[torch.zeros(1)] * 3)[:3]], strict=True):  # fmt: skip
            assert torch.equal(one.nan_to_num(7), two.nan_to_num(7)) and one.dtype == two.dtype


@there
@pytest.mark.parametrize("shape", [(5, 8, 1, 1), (1, 4, 33, 35), (2, 34, 9, 20)], ids=str)
@pytest.mark.parametrize("name", [name for name in MAKE if name != "instance"])
def test_shapes(name, shape, monkeypatch):
    for layout in (torch.contiguous_format, torch.channels_last):
        module, x = made(name, shape), torch.randn(shape).contiguous(memory_format=layout)
        twin, g = copy.deepcopy(module), torch.randn(shape)
        _, mine = results(module, x, g)
        with monkeypatch.context() as patch:
            in_python(patch)
            _, theirs = results(twin, x, g)
        assert all(map(torch.equal, mine, theirs))


@there
@pytest.mark.parametrize("name", MAKE)
def test_derivatives_of_any_order(name):
    module = made(name, (3, 4, 2, 3), torch.float64)
    module.act = "sigmoid"
    x = torch.randn(3, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    names, values = zip(*module.named_parameters(), strict=True)

    def run(x, *values):
        assert type(module(x).grad_fn).__name__ == "CppFunction"
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    assert gradcheck(run, (x, *values))
    assert gradgradcheck(run, (x, *values))
    assert gradcheck(run, (x, *values), check_batched_grad=True)  # vmap over gradients


@there
@pytest.mark.parametrize("name", MAKE)
def test_what_autograd_promises(name):
    module, x = made(name), torch.randn(SHAPE, requires_grad=True)
    y = module(x)
    once = torch.autograd.grad(y.sum(), x, retain_graph=True)
    assert torch.equal(once[0], torch.autograd.grad(y.sum(), x)[0])
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()
    inner = x * 1
    y = module(inner)
    inner.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.sum().backward()
    y = module(x)
    with torch.no_grad():
        module.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.sum().backward()


@there
@pytest.mark.parametrize("name", MAKE)
def test_only_what_is_asked_for(name):
    module, x = made(name), torch.randn(SHAPE)
    y, whole = results(module, x, torch.ones(SHAPE))
    assert torch.equal(torch.autograd.grad(module(x).sum(), module.weight)[0], whole[2])
    module.requires_grad_(False)
    assert module(x).grad_fn is None
    leaf = x.clone().requires_grad_()
    assert torch.equal(torch.autograd.grad(module(leaf).sum(), leaf)[0], whole[1])
    with torch.no_grad():
        assert module(leaf).grad_fn is None
    with torch.inference_mode():
        assert module(leaf).is_inference()
    assert torch.equal(y.detach(), module(x))


@there
@pytest.mark.parametrize("name", MAKE)
def test_hooks_offload_and_checkpoints(name):
    module, x = made(name), torch.randn(SHAPE).contiguous(memory_format=torch.channels_last)
    g, seen = torch.randn(SHAPE), []
    _, expected = results(module, x, g)
    ways = [
        torch.autograd.graph.save_on_cpu(),
        torch.autograd.graph.saved_tensors_hooks(lambda t: t.numpy(force=True), torch.from_numpy),
        torch.autograd.detect_anomaly(check_nan=True),
    ]
    for way in ways:
        with way:
            _, found = results(module, x, g)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    leaf = x.clone().requires_grad_()
    y = checkpoint(module, leaf, use_reentrant=False)
    y.register_hook(seen.append)
    y.grad_fn.register_hook(lambda after, before: seen.extend([*after, *before]))
    y.backward(g)
    torch.testing.assert_close(leaf.grad, expected[1], rtol=1e-5, atol=1e-5)
    assert torch.equal(seen[0], g) and seen[1] is not None and torch.equal(seen[-1], g)


@there
def test_versions_of_running_moments():
    module, x = made("batch"), torch.randn(SHAPE)
    before = module.running_mean._version, module.running_var._version
    module(x)
    assert (module.running_mean._version, module.running_var._version) == tuple(
        v + 1 for v in before
    )
    module.eval()
    y = module(x.clone().requires_grad_())
    module.running_var.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.sum().backward()


@pytest.mark.parametrize("path", ["node", "python"])
def test_weights_that_do_not_fit_or_lie_apart(path, monkeypatch):
    if path == "python":
        in_python(monkeypatch)
    x = torch.randn(SHAPE)
    for name in ("batch", "group", "instance", "layer2d", "layer"):
        module = made(name)
        twin = copy.deepcopy(module)
        many = module.weight.shape
        module.weight = nn.Parameter(torch.stack([twin.weight.detach()] * 2, -1)[..., 0])
        assert module.weight.shape == many and not module.weight.is_contiguous()
        torch.testing.assert_close(module(x), twin(x))
        module.weight = nn.Parameter(torch.ones(4))
        with pytest.raises(RuntimeError):
            module(x)


@there
def test_memory_is_freed():
    module = made("group", (8, 32, 32, 32))

    def step(backward=True):
        x = torch.randn(8, 32, 32, 32, requires_grad=True)
        y = module(x)
        if backward:
            y.sum().backward()
        return weakref.ref(x), weakref.ref(y)

    for backward in (True, False):
        assert [r() for r in step(backward)] == [None, None]
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for k in range(150):  # 1 MB each
        step(k % 2 == 0)
    gc.collect()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start < 40_000
    x = torch.randn(2, 32, 4, 4, requires_grad=True)
    y = module(x)
    y.sum().backward()  # what was saved is released, though y lives on
    inner, held = x.detach().requires_grad_(), []
    z = module(inner * 1)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(weakref.ref(t)) or t, lambda t: t):  # fmt: skip
        z = module(inner * 1)
    z.sum().backward()
    del inner
    assert not any(r() is not None and r().shape == x.shape for r in held)


@there
def test_deep_graphs_are_freed():
    module, x = norm.GroupNorm(1, 2), torch.randn(1, 2, 2, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = module(y)
    del y  # no deep recursion


@there
def test_threads_at_once():
    module = made("batch-instance").eval()
    x, g = torch.randn(SHAPE), torch.randn(SHAPE)
    _, expected = results(module, x, g)
    wrong = []

    def work():
        for _ in range(50):
            _, found = results(module, x, g)
            if not all(map(torch.equal, found, expected)):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    leaf = x.clone().requires_grad_()
    y = module(leaf)
    other = threading.Thread(target=lambda: y.backward(g))
    other.start(), other.join()
    assert torch.equal(leaf.grad, expected[1])  # type: ignore[arg-type]


PROGRAM = """
import torch
from visus import kernels
from visus.layers.norm import BatchNorm2d
torch.manual_seed(0)
x = torch.randn(2, 3, 4, 4, requires_grad=True)
y = BatchNorm2d(3, act="relu")(x)
y.square().sum().backward()
print([line for line in kernels.info().splitlines() if " node " in line][0])
print(type(y.grad_fn).__name__, float(x.grad.abs().sum()))
"""


def program(**environment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True,
        env={**os.environ, **environment}, timeout=250,
    )  # fmt: skip
    line, result = done.stdout.splitlines()
    return line, result.split()


def test_without_the_node_python_serves():
    line, (kind, total) = program(VISUS_KERNELS="no-node")
    assert "missing" in line and "VISUS_KERNELS=no-node" in line and "Normalize" in kind
    assert float(total) == pytest.approx(float(program()[1][1]), rel=1e-5)
    assert "no C++ kernels" in program(VISUS_KERNELS="torch")[0]


def test_a_build_that_fails_is_told_and_noted(monkeypatch, tmp_path):
    if kernels.load("cpp")[0] is None:
        pytest.skip("no C++ kernels here")
    log, broken = tmp_path / "log", tmp_path / "broken"
    broken.write_text(f"#!/bin/sh\necho called >> {log}\necho 'error: it is broken' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(build, "HERE", tmp_path / "nowhere")
    monkeypatch.setenv("VISUS_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", str(broken))
    for _ in range(2):
        module, why = node._module.__wrapped__()
        assert module is None and "it is broken" in why
    assert log.read_text() == "called\n"  # once; then the note speaks
    assert node.note().exists() and "noted in" in why
    (line,) = node.rebuild()
    assert "it is broken" in line and log.read_text() == "called\n" * 2
    monkeypatch.setattr(node, "_missing", lambda: "torch brings no headers")
    node.note().unlink()
    assert node._module.__wrapped__() == (None, "torch brings no headers")
    assert not node.note().exists()
