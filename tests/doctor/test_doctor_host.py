"""The host follows programs of many shapes, changes nothing in them and never breaks them."""

from __future__ import annotations

import copy
import json
import random
import sys
from pathlib import Path

import numpy
import pytest
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import batches, digits, fit, mlp

from visus.doctor import Doctor, explain, watch
from visus.doctor.letter import letter
from visus.doctor.probes import Probe, probes
from visus.errors import UsageError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x.view(-1, 1, 8, 8)))), 2)
        return self.head(self.drop(x.flatten(1)))


def train(optimizer_of, steps=40, sink=None):
    """A loop with dropout, batch norm, clipping, a penalty, validation and three generators."""
    torch.manual_seed(1)
    random.seed(1)
    numpy.random.seed(1)
    x, y, xv, yv = digits()
    model = Net()
    optimizer = optimizer_of(model)
    seen = []
    for k, rows in enumerate(batches(len(x), 32, steps)):
        model.train()
        noise = torch.randn(32, 64) * random.random() + float(numpy.random.rand())
        loss = F.cross_entropy(model(x[rows] + 0.01 * noise), y[rows], label_smoothing=0.05)
        loss = loss + 1e-4 * sum(p.square().sum() for p in model.parameters())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        seen.append([loss.item(), *[p.grad.clone() for p in model.parameters()]])
        optimizer.step()
        if k % 10 == 9:
            model.eval()
            with torch.inference_mode():
                seen.append([(model(xv).argmax(1) == yv).float().mean().item()])
    state = [*model.state_dict().values(), torch.get_rng_state()]
    seen.append([*state, random.random(), float(numpy.random.rand()), model.training])
    return seen


OPTIMIZERS = {
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9),
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=1e-3),
    "collapsing": lambda m: torch.optim.SGD(m.parameters(), lr=50.0),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_watched_program_is_bit_identical(name):
    alone = train(OPTIMIZERS[name])
    with Doctor() as doctor:
        watched = train(OPTIMIZERS[name])
    assert doctor.errors == [] and doctor.steps == 40
    for a, b in zip(alone, watched, strict=True):
        for left, right in zip(a, b, strict=True):
            same = torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right
            finite = (
                not isinstance(left, torch.Tensor)
                or not left.is_floating_point()
                or left.isfinite().all()
            )
            assert same or left != left or not finite


def test_torch_is_as_it_was_afterwards():
    before = (torch.autograd.backward, torch.utils.data.dataloader._BaseDataLoaderIter.__next__)
    modes = len(torch.overrides._get_current_function_mode_stack())
    with Doctor():
        train(OPTIMIZERS["sgd"], steps=3)
    assert before == (
        torch.autograd.backward,
        torch.utils.data.dataloader._BaseDataLoaderIter.__next__,
    )
    assert len(torch.overrides._get_current_function_mode_stack()) == modes
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks


def test_an_error_in_a_probe_is_noted_and_the_program_goes_on():
    class Clumsy(Probe):
        def backward(self, loss, tape):
            raise ZeroDivisionError("clumsy")

        def op(self, name, args, kwargs, result):
            raise KeyError("op")

    with Doctor() as doctor:
        doctor.host.add(Clumsy(doctor.host))
        train(OPTIMIZERS["sgd"], steps=5)
    assert any("clumsy" in line for line in doctor.errors)
    assert any("op" in line for line in doctor.errors)
    assert doctor.steps == 5
    assert "clumsy" not in probes


def test_an_exception_of_the_program_is_passed_on():
    with pytest.raises(ValueError, match="mine"), Doctor() as doctor:
        train(OPTIMIZERS["sgd"], steps=3)
        raise ValueError("mine")
    assert doctor.steps == 3


def test_accumulation_counts_optimizer_steps_and_is_no_finding():
    x, y, *_ = digits()
    model = mlp(64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with Doctor() as doctor:
        for k, rows in enumerate(batches(len(x), 16, 240)):
            (F.cross_entropy(model(x[rows]), y[rows]) / 4).backward()
            if k % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
    assert doctor.steps == 60
    assert doctor.host.signals.last("loss", "count") == 4
    assert [f for f in doctor.findings if f["severity"] != "info"] == []


def test_a_gan_is_followed_and_left_alone():
    torch.manual_seed(0)
    real = torch.randn(512, 2) * 0.3 + 1
    maker, judge = mlp(4, 32, 2), mlp(2, 32, 1)
    a = torch.optim.Adam(maker.parameters(), lr=1e-3)
    b = torch.optim.Adam(judge.parameters(), lr=1e-3)
    bce = nn.BCEWithLogitsLoss()
    with Doctor() as doctor:
        for k in range(60):
            x = real[(k * 32) % 512 :][:32]
            fake = maker(torch.randn(32, 4))
            loss = bce(judge(x), torch.ones(32, 1)) + bce(judge(fake.detach()), torch.zeros(32, 1))
            b.zero_grad()
            loss.backward()
            b.step()
            a.zero_grad()
            bce(judge(fake), torch.ones(32, 1)).backward()
            a.step()
    assert doctor.errors == [] and doctor.steps == 60
    assert [f for f in doctor.findings if f["severity"] != "info"] == []


@pytest.mark.filterwarnings("ignore:Using `torch.compile")
def test_a_compiled_network_is_followed():
    x, y, *_ = digits()
    model = mlp(64, 64, 10)
    compiled = torch.compile(model, backend="eager")
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with Doctor() as doctor:
        fit(compiled, x * 255, y, optimizer=optimizer, steps=20)
    assert doctor.steps == 20 and doctor.errors == []
    assert doctor.host.signals.values("loss", "value")
    assert doctor.findings[0]["id"] == "input-not-normalized"


def test_a_distributed_network_is_followed(tmp_path):
    if not torch.distributed.is_available():
        pytest.skip("torch is built without distributed")
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1
    )
    try:
        x, y, *_ = digits()
        model = nn.parallel.DistributedDataParallel(mlp(64, 64, 10))
        with Doctor() as doctor:
            fit(model, x, y, steps=60)
    finally:
        torch.distributed.destroy_process_group()
    assert doctor.errors == [] and [f for f in doctor.findings if f["severity"] != "info"] == []
    assert doctor.host.signals.layers[0]["place"] == "0"


def test_a_replayed_step_gives_the_very_loss_of_the_program():
    with Doctor() as doctor:
        train(OPTIMIZERS["sgd"], steps=20)
    assert doctor.host.signals.facts["faithful"] is True


def test_the_overhead_is_measured():
    with Doctor() as doctor:
        train(OPTIMIZERS["sgd"], steps=10)
    assert 0 < doctor.overhead < 50 and doctor.seconds > 0


SCRIPT = """
import sys, torch
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for k in range(int(sys.argv[1])):
    loss = nn.CrossEntropyLoss()(model(torch.randn(16, 4)), torch.randint(0, int(sys.argv[2]), (16,)))
    optimizer.zero_grad(); loss.backward(); optimizer.step()
print("done", model[0].weight.sum().item())
if len(sys.argv) > 3: sys.exit(int(sys.argv[3]))
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(SCRIPT)
    return path


def test_watch_stops_after_max_steps_and_writes_json(script, tmp_path, capsys):
    out = tmp_path / "out.json"
    result = watch(script, ["50", "3"], max_steps=7, json_path=out)
    assert result["steps"] == 7 and result["status"] == 0 and result["error"] is None
    written = json.loads(out.read_text())
    assert written == json.loads(json.dumps(result)) and capsys.readouterr().out == ""


def test_watch_respects_output_and_exit_status(script, capsys):
    held = copy.copy(sys.argv)
    result = watch(script, ["5", "3", "4"])
    assert result["status"] == 4 and result["steps"] == 5
    assert capsys.readouterr().out.startswith("done ") and sys.argv == held


def test_watch_reports_the_scripts_exception_with_the_findings(script):
    result = watch(script, ["60", "9"])
    assert result["status"] == 1 and "program.py, line" in result["error"]
    assert result["findings"][0]["id"] == "label-invalid"


def test_watch_refuses_a_missing_script(tmp_path):
    with pytest.raises(UsageError, match="no script"):
        watch(tmp_path / "none.py")


def test_letter_and_pages():
    found = {"id": "relu-dead", "severity": "error", "confidence": 0.9, "where": "fc1", "first_step": 3,
             "evidence": {"dead": 0.95}, "explanation": "Units are off.", "remedies": ["lower the rate"]}  # fmt: skip
    text = letter([found], steps=12)
    assert "relu-dead" in text and "fc1" in text and "0.95" in text and "lower the rate" in text
    assert "no finding" in letter([], steps=3)
    assert "Why:" in explain("relu-dead")
    with pytest.raises(UsageError, match="relu-dead"):
        explain("relu-ded")
