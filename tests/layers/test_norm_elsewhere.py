"""The norms where others run them: ONNX by both exporters, two ranks, the compiler, each ISA."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from visus.kernels import build, load
from visus.layers import norm

MAKE = {
    "batch": lambda: norm.BatchNorm2d(8, act="relu"),
    "instance": lambda: norm.InstanceNorm2d(8, affine=True, act="relu"),
    "group": lambda: norm.GroupNorm(4, 8, act="elu"),
    "layer": lambda: norm.LayerNorm((8, 5, 6), act=("leaky-relu", 0.2)),
    "layer2d": lambda: norm.LayerNorm2d(8, act="tanh"),
    "batch-instance": lambda: norm.BatchInstanceNorm2d(8, act="sigmoid"),
    "switch": lambda: norm.SwitchNorm2d(8, act="relu"),
}


def module(name):
    torch.manual_seed(0)
    made = MAKE[name]()
    for parameter in made.parameters():
        nn.init.uniform_(parameter, 0.2, 0.9)
    made(torch.randn(4, 8, 5, 6) * 2 + 1)  # running moments move
    return made.eval()


@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
@pytest.mark.parametrize("name", MAKE)
def test_onnx_export_computes_what_the_module_computes(name, dynamo):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    made, x, file = module(name), torch.randn(3, 8, 5, 6) + 1, io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(made, (x,), file, dynamo=dynamo, **({"verbose": False} if dynamo else {}))
    session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), made(x).detach(), rtol=1e-5, atol=1e-5)


RANK = """
import os, sys, torch, torch.distributed as dist
from torch import nn
from visus.layers import norm
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 8, 1), norm.BatchNorm2d(8, act="relu"), norm.GroupNorm(4, 8), norm.LayerNorm2d(8),
    norm.BatchInstanceNorm2d(8), norm.SwitchNorm2d(8), norm.InstanceNorm2d(8, affine=True), norm.LayerNorm((8, 4, 4)),
)
x = torch.randn(2, 4, 3, 4, 4)
alone = [p.clone() for p in model.parameters()]
held = nn.parallel.DistributedDataParallel(model)
held(x[rank]).square().sum().backward()
mine = [p.grad.clone() for p in model.parameters()]
both = []
for half in x:  # without DDP, one half after the other
    both.append(torch.autograd.grad(model(half).square().sum(), list(model.parameters())))
for g, a, b in zip(mine, *both):
    torch.testing.assert_close(g, (a + b) / 2, rtol=1e-3, atol=1e-4 * float(1 + g.abs().max()))
dist.barrier()
dist.destroy_process_group()
"""


def test_two_ranks_average_the_gradients_of_every_norm(tmp_path):
    command = [sys.executable, "-c", RANK]
    ranks = [
        subprocess.Popen(
            [*command, str(r), str(tmp_path / "meeting")], stderr=subprocess.PIPE, text=True
        )
        for r in range(2)
    ]
    for rank in ranks:
        _, words = rank.communicate(timeout=120)
        assert rank.returncode == 0, words


@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")
def test_inductor_takes_a_norm_whole():
    made, x = module("group").train(), torch.randn(3, 8, 5, 6)
    try:
        torch._dynamo.reset()
        y = torch.compile(made, fullgraph=True)(x)
    finally:
        torch._dynamo.reset()
    torch.testing.assert_close(y, made(x), rtol=1e-5, atol=1e-5)


ISA = """
import copy, torch
from visus import kernels
from visus.layers import norm
assert "C++ with {isa} " in kernels.info(), kernels.info()
torch.manual_seed(0)
made = [norm.BatchNorm2d(19), norm.GroupNorm(1, 19, act="elu"), norm.LayerNorm2d(19, act="relu"),
        norm.LayerNorm((19, 7, 9)), norm.BatchInstanceNorm2d(19, act="tanh"), norm.InstanceNorm2d(19, act="sigmoid")]
for dtype, off in ((torch.float32, 2e-5), (torch.float64, 1e-11), (torch.bfloat16, 6e-2), (torch.float16, 8e-3)):
    for layout in (torch.contiguous_format, torch.channels_last):
        x = (torch.randn(3, 19, 7, 9) + 5).to(dtype).contiguous(memory_format=layout)
        g = torch.randn(3, 19, 7, 9).to(dtype)
        for module in made:
            pair = []
            for kind, plain in ((dtype, False), (torch.float64, True)):
                m, leaf = copy.deepcopy(module).double() if plain else copy.deepcopy(module), x.to(kind).requires_grad_()
                if plain:  # the differentiable path, in PyTorch
                    with torch.autograd.forward_ad.dual_level():
                        y = m(leaf)
                else:
                    m = m.to(torch.float64) if dtype == torch.float64 else m
                    y = m(leaf)
                pair.append([y.detach(), *torch.autograd.grad(y, leaf, g.to(kind))])
            for a, b in zip(*pair):
                assert float((a.double() - b).abs().max() / b.abs().max()) < off, (module, dtype, layout)
"""


@pytest.mark.parametrize("isa", ["avx2", "plain"])
def test_kernels_of_other_vectors_agree_with_plain_pytorch(isa):
    if load("cpp")[0] is None:
        pytest.skip("no C++ kernels here")
    if build.find(isa) is None:
        pytest.skip(f"the {isa} kernels are not built; python -m visus.kernels builds all")
    level = {"avx2": "avx2", "plain": "default"}[isa]
    env = {**os.environ, "ATEN_CPU_CAPABILITY": level, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(build.__file__).parents[2])}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", ISA.replace("{isa}", isa)],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
