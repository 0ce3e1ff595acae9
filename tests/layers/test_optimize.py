"""`optimize` on models as people write them: same numbers, everything kept, exactly undone."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

import optimize_models as models

from visus.layers import optimize_swap
from visus.layers.optimize import optimize, restore


def images(dtype=torch.float32, seed=3):
    return torch.randn(models.SIZE, generator=torch.Generator().manual_seed(seed)).to(dtype)


def run(model, x):
    """Output, gradients and buffers of one training step's forward and backward."""
    x = x.clone().requires_grad_()
    with contextlib.redirect_stdout(io.StringIO()), torch.random.fork_rng():
        torch.manual_seed(0)
        y = model(x)
    model.zero_grad()
    (y.float() * torch.linspace(-1, 2, y.numel()).reshape(y.shape)).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return y.detach(), {"x": x.grad, **gradients}, dict(model.named_buffers())


def exact(model, x):
    """`run` in float64 of the model as it is without us."""
    return run(copy.deepcopy(model).double(), x.double())


def same(ours, theirs, truth=None, rtol=1e-10, atol=1e-11):
    """Raise unless outputs, gradients and buffers agree.

    With the float64 `truth` of the plain model, ours may be four times as far from it as
    PyTorch's own rounding, which small batches amplify; without, both must be equal.
    """
    flat = [{"output": r[0], **r[1], **{f"buffer {k}": b for k, b in r[2].items()}} for r in (ours, theirs, truth or theirs)]  # fmt: skip
    assert list(flat[0]) == list(flat[1]) == list(flat[2])
    for name, mine in flat[0].items():
        expected, right = flat[1][name], flat[2][name]
        assert mine.shape == expected.shape and mine.dtype == expected.dtype, name
        error = float((mine.double() - right.double()).abs().max())
        limit = atol + rtol * float(right.double().abs().max())
        if truth is not None:
            unit = float(right.double().square().mean().sqrt()) * torch.finfo(torch.float32).eps
            limit = 4 * float((expected.double() - right.double()).abs().max()) + 16 * unit + 1e-6
        assert error <= limit, f"{name}: off by {error:.3g}, allowed {limit:.3g}"


def state(model):
    """All that a module is, but for tensors' values: class, attributes, hooks, identities."""
    return {
        name: (type(m), {key: id(v) for key, v in m.__dict__.items()}, m.training)
        for name, m in model.named_modules()
    }


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])  # fmt: skip
@pytest.mark.parametrize("cls", models.MODELS)
def test_same_numbers(cls, layout, training):
    plain = models.make(cls).to(memory_format=layout).train(training)
    fused = copy.deepcopy(plain)
    report = optimize(fused)
    assert len(report.named("fused")) == cls.FUSED, report
    x = images().to(memory_format=layout)
    for _ in range(2):  # again: running moments went on alike
        truth = exact(plain, x)
        same(run(fused, x), run(plain, x), truth)


@pytest.mark.parametrize("cls", models.MODELS)
def test_float64_to_the_last_digits(cls):
    plain = models.make(cls, dtype=torch.float64)
    fused = copy.deepcopy(plain)
    optimize(fused)
    same(run(fused, images(torch.float64)), run(plain, images(torch.float64)))


@pytest.mark.parametrize("cls", models.MODELS)
def test_restore_is_exact(cls):
    model = models.make(cls)
    before = state(model)
    optimize(model)
    assert restore(model) is model
    assert state(model) == before


@pytest.mark.parametrize("cls", models.MODELS)
def test_weights_names_and_modes_stay(cls):
    model = models.make(cls).eval()
    parameters, keys = list(model.named_parameters()), list(model.state_dict())
    modules = list(model.named_modules())
    optimize(model)
    assert [(n, id(p)) for n, p in model.named_parameters()] == [(n, id(p)) for n, p in parameters]
    assert list(model.state_dict()) == keys
    assert all(a is b for (_, a), (_, b) in zip(modules, model.named_modules(), strict=True))
    assert not any(m.training for m in model.modules())


@pytest.mark.parametrize("cls", models.MODELS)
def test_twice_is_once(cls):
    model = models.make(cls)
    optimize(model)
    before = state(model)
    again = optimize(model)
    assert state(model) == before
    assert not again.named("fused") and not again.named("swapped")


def test_tracing_leaves_nothing_behind(capsys):
    model = models.make(models.Side)
    generator = torch.random.get_rng_state()
    optimize(model)
    assert int(model.calls) == 0 and model.log == [] and model.last is None
    assert capsys.readouterr().out == ""
    assert torch.equal(torch.random.get_rng_state(), generator)


def test_optimizer_goes_on():
    """Momentum and weights of an optimizer made before are those of the model afterwards."""
    plain = models.make(models.ResNet)
    fused = copy.deepcopy(plain)
    losses = {}
    for name, model in (("plain", plain), ("fused", fused)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        losses[name] = []
        for step in range(12):
            if name == "fused" and step == 4:
                optimize(model)
            if name == "fused" and step == 8:
                restore(model)
            optimizer.zero_grad()
            loss = model(images(seed=step)).square().mean()
            loss.backward()
            optimizer.step()
            losses[name].append(float(loss))
    assert losses["fused"] == pytest.approx(losses["plain"], rel=1e-4)


# ---- hooks ----------------------------------------------------------------------------


def seen_by(model, attach):
    """What the hooks that `attach` puts on `model` see in one step."""
    seen = []
    handles = attach(model, seen)
    run(model, images())
    for handle in handles:
        handle.remove()
    return seen


def values(*tensors):
    return [t.detach().clone() for t in tensors if t is not None]


def forward_hooks(model, seen):
    pick = (model.bn1, model.relu, model.layer1[0].bn1, model.layer1[0].relu)
    return [m.register_forward_hook(lambda _, i, o: seen.extend(values(i[0], o))) for m in pick]


def pre_hooks(model, seen):
    pick = (model.bn1, model.relu, model.layer1[1].relu)
    return [m.register_forward_pre_hook(lambda _, i: seen.extend(values(i[0]))) for m in pick]


def backward_hooks(model, seen):
    pick = (model.bn1, model.layer1[0].bn1)
    return [
        m.register_full_backward_hook(lambda _, i, o: seen.extend(values(*i, *o))) for m in pick
    ]


def global_hook(model, seen):
    def note(module, inputs, output):
        seen.extend(values(inputs[0], output))

    return [torch.nn.modules.module.register_module_forward_hook(note)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("attach", [forward_hooks, pre_hooks, backward_hooks, global_hook])
def test_hooks_see_what_they_would_have_seen(attach, when):
    plain = models.make(models.ResNet)
    for module in plain.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # torch refuses backward hooks before an in-place relu
    fused = copy.deepcopy(plain)
    expected = seen_by(plain, attach)
    if when == "after":
        optimize(fused)
        got = seen_by(fused, attach)
    else:
        got = seen_by(fused, lambda m, s: [*attach(m, s), optimize(m)][:-1])
    assert len(got) == len(expected) > 0
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_hook_that_changes_the_norms_output_is_obeyed():
    plain = models.make(models.ResNet)
    plain.bn1.register_forward_hook(lambda m, i, o: -o)
    fused = copy.deepcopy(plain)
    optimize(fused)
    truth = exact(plain, images())
    same(run(fused, images()), run(plain, images()), truth)


def test_without_hooks_the_pair_is_one_pass():
    """What the norm returns is activated already, and the activation returns that very tensor."""
    model = models.make(models.ResNet)
    optimize(model)
    y = model.bn1(torch.randn(2, 8, 4, 4))
    assert float(y.min()) >= 0
    assert model.relu(y) is y
    other = torch.randn(2, 8, 4, 4)
    assert float(model.relu(other.clone()).min()) == 0 > float(other.min())


# ---- what others do with a model ------------------------------------------------------


@pytest.mark.parametrize("cls", [models.Plain, models.ResNet, models.Dynamic, models.Listed])
@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_copies_are_optimized_and_can_be_restored(cls, way):
    model = models.make(cls)
    names = {name: type(m) for name, m in model.named_modules()}
    optimize(model)
    twin = copy.deepcopy(model) if way == "deepcopy" else pickle.loads(pickle.dumps(model))
    for name, module in twin.named_modules():
        reader = module.__dict__.get(optimize_swap.READER)
        if reader:
            assert any(reader[0] is m for m in twin.modules()), f"{name} reads the other model"
    same(run(twin, images()), run(model, images()))
    restore(twin)
    assert {name: type(m) for name, m in twin.named_modules()} == names
    assert any(optimize_swap.is_swapped(m) for m in model.modules())


def test_checkpoints_move_both_ways():
    plain, fused = models.make(models.ResNet, seed=1), models.make(models.ResNet, seed=2)
    optimize(fused)
    fused.load_state_dict(plain.state_dict())
    truth = exact(plain, images())
    same(run(fused, images()), run(plain, images()), truth)
    plain.load_state_dict(fused.state_dict())


def test_to_another_dtype_after():
    plain = models.make(models.ResNet)
    fused = copy.deepcopy(plain)
    optimize(fused)
    x = images(torch.float64)
    same(run(fused.double(), x), run(plain.double(), x))


def test_autocast():
    plain = models.make(models.ResNet)
    fused = copy.deepcopy(plain)
    optimize(fused)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = fused(images()), plain(images())
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("cls", [models.Plain, models.ResNet])
def test_compiles_in_one_graph(cls):
    plain = models.make(cls)
    fused = copy.deepcopy(plain)
    optimize(fused)
    truth = exact(plain, images())
    compiled = torch.compile(fused, backend="aot_eager", fullgraph=True)
    y, gradients, buffers = run(compiled, images())
    plainly = {name.removeprefix("_orig_mod."): g for name, g in gradients.items()}
    held = {name.removeprefix("_orig_mod."): b for name, b in buffers.items()}
    same((y, plainly, held), run(plain, images()), truth)


def test_ddp(tmp_path):
    """Before and after wrapping; gradients as in the plain model."""
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    store = f"file://{tmp_path / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        plain = models.make(models.ResNet)
        first, second = copy.deepcopy(plain), copy.deepcopy(plain)
        optimize(first)
        first = DistributedDataParallel(first)
        second = DistributedDataParallel(second)
        report = optimize(second)
        assert len(report.named("fused")) == models.ResNet.FUSED, report
        expected = run(plain, images())
        for model in (first, second):
            y, gradients, _ = run(model, images())
            torch.testing.assert_close(y, expected[0], rtol=2e-5, atol=2e-6)
            for name, value in expected[1].items():
                mine = gradients[name if name == "x" else f"module.{name}"]
                torch.testing.assert_close(mine, value, rtol=1e-4, atol=1e-4)
    finally:
        dist.destroy_process_group()


# ---- the report, and what is left alone -----------------------------------------------


def why(report, name):
    return next(row.why for row in report.rows if row.name == name)


def test_the_report_says_why_not():
    said = {cls: optimize(models.make(cls)) for cls in models.MODELS}
    assert "relu is called as a function" in why(said[models.Functional], "bn")
    assert "2 readers" in why(said[models.TwoReaders], "bn")
    assert "leaves" in why(said[models.Flag], "bn") or "readers" in why(said[models.Flag], "bn")
    assert "cannot be traced" in why(said[models.Dynamic], "bn")
    assert "readers" in why(said[models.Taps], "features.1")
    assert "may index it" in why(said[models.DynamicTaps], "features.1")
    assert "subclass of BatchNorm2d" in why(said[models.Custom], "1")
    assert "MyReLU" in why(said[models.Custom], "4")
    assert "read by add" in why(said[models.ResNet], "layer1.0.bn2")


def test_the_report_is_a_table():
    lines = str(optimize(models.make(models.ResNet))).splitlines()
    assert lines[0] == "visus.optimize: 4 fused, 4 swapped, 0 left"
    assert lines[1].split() == ["module", "kind", "done", "why"]
    assert len(lines) == 10


def test_a_norm_itself_and_a_model_without_norms():
    norm = nn.BatchNorm2d(3)
    assert optimize(norm).named("swapped") == [""]
    torch.testing.assert_close(norm(images()), nn.BatchNorm2d(3)(images()), rtol=1e-5, atol=1e-6)
    assert optimize(nn.Linear(2, 2)).rows == ()


def test_replaced_forwards_are_left_alone():
    """An instance whose forward somebody replaced does what only they know."""
    model = models.make(models.Listed)
    block = model.blocks[0]
    block.forward = lambda x: block[3](block[1](block[0](x)) - 1)
    block[1].forward = type(block[1]).forward.__get__(block[1])
    report = optimize(model)
    assert report.named("fused") == ["blocks.1.1"]
    assert "replaced on the instance" in why(report, "blocks.0.1")


@pytest.mark.parametrize("cls", [models.TwoReaders, models.TrainingOnly])
def test_the_contract_catches_a_wrong_pair(cls):
    """Fusing a norm whose output somebody else reads too is seen."""
    plain = models.make(cls)
    fused = copy.deepcopy(plain)
    optimize_swap.swap(fused.bn, fused.relu)
    truth = exact(plain, images())
    with pytest.raises(AssertionError, match="off by"):
        same(run(fused, images()), run(plain, images()), truth)


def test_the_contract_catches_a_deaf_fusion(monkeypatch):
    """A fusion that never looks at hooks is seen."""
    monkeypatch.setattr(optimize_swap, "listening", lambda norm, act: False)
    plain = models.make(models.ResNet)
    plain.bn1.register_forward_hook(lambda m, i, o: -o)
    fused = copy.deepcopy(plain)
    optimize(fused)
    truth = exact(plain, images())
    with pytest.raises(AssertionError, match="off by"):
        same(run(fused, images()), run(plain, images()), truth)


def test_the_contract_catches_a_dropped_second_call(monkeypatch):
    """An activation that always stands aside loses the relu after the addition."""
    cls = optimize_swap.HANDS_THROUGH[nn.ReLU]
    monkeypatch.setattr(cls, "forward", lambda self, input: input)
    plain = models.make(models.ResNet)
    fused = copy.deepcopy(plain)
    optimize(fused)
    truth = exact(plain, images())
    with pytest.raises(AssertionError, match="off by"):
        same(run(fused, images()), run(plain, images()), truth)
