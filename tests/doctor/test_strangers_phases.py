"""Trainings in stages: a body is pretrained, then fine-tuned with an optimizer of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import digits, fit, mlp, rounds, watched  # pyright: ignore[reportMissingImports]


def low_and_high():
    """Digits 0 to 4 for the first stage, 5 to 9 (as 0 to 4) for the second."""
    x, y, *_ = digits()
    return x[y < 5], y[y < 5], x[y > 4], y[y > 4] - 5


def adam(parameters, rate=3e-3):
    return torch.optim.Adam(list(parameters), rate)


def tuned(rate=3e-3, old_head=False, frozen=False):
    """Pretrained on one half of the digits, then a new head and the other half."""
    x, y, xs, ys = low_and_high()
    net = mlp(64, 128, 96, 5)
    fit(net, x, y, optimizer=adam(net.parameters()), steps=100)
    taught = [*net[4].parameters()] if old_head else []
    net[4] = nn.Linear(96, 5)
    for p in (*net[0].parameters(), *net[2].parameters()):
        p.requires_grad_(not frozen)
    taught = taught or [p for p in net.parameters() if p.requires_grad]
    fit(net, xs, ys, optimizer=adam(taught, rate), steps=200)


def tuned_too_fast():
    tuned(rate=0.3)


def tuned_too_slowly():
    tuned(rate=1e-6)


def tuned_the_old_head():
    tuned(old_head=True, frozen=True)


def frozen_body():
    tuned(frozen=True)


def distilled(train=True):
    """A student learns from a teacher with dropout that stands in eval mode, as it should."""
    x, y, *_ = digits()
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
    fit(teacher, x, y, optimizer=adam(teacher.parameters()), steps=120)
    teacher.eval()
    for p in teacher.parameters():
        p.requires_grad_(False)
    student = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 10))
    optimizer = adam(student.parameters(), 5e-3)
    student.train(train)
    for k in range(200):
        rows = torch.arange(32) + 32 * (k % 46)
        soft = F.softmax(teacher(x[rows]) / 2, 1)
        guess = student(x[rows])
        loss = F.cross_entropy(guess, y[rows]) + F.cross_entropy(guess / 2, soft)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def made_anew_for_another_rate():
    """The same weights in a new optimizer: one training that goes on."""
    x, y, *_ = digits()
    net = mlp(64, 48, 10)
    for rate in (3e-3, 1e-3, 3e-4):
        fit(net, x, y, optimizer=adam(net.parameters(), rate), steps=60)


def by_turns():
    """Two networks, two optimizers, step about: no stage ends."""
    x, y, *_ = digits()
    code, read = mlp(64, 16, 64), mlp(64, 32, 10)
    ours, theirs = adam(code.parameters()), adam(read.parameters())
    for k in range(200):
        rows = torch.arange(32) + 32 * (k % 46)
        F.mse_loss(code(x[rows]), x[rows]).backward()
        ours.step()
        ours.zero_grad()
        F.cross_entropy(read(x[rows]), y[rows]).backward()
        theirs.step()
        theirs.zero_grad()


def ends_in_a_square(bound=True):
    """Numbers beyond 1, and a tanh as the last activation, of which one column is taken."""
    x = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0))
    y = 3 * torch.sin(x[:, 0]) + x[:, 1]
    net = mlp(8, 48, 48, 1)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = net

        def forward(self, x):
            return (torch.tanh(self.body(x)) if bound else self.body(x))[:, 0]

    whole = Net()
    fit(whole, x, y, optimizer=adam(whole.parameters()), loss=F.mse_loss, steps=300)


def ends_free():
    ends_in_a_square(bound=False)


CAUSES = {
    tuned_too_fast: "learning-rate-too-large",
    tuned_too_slowly: "learning-rate-too-small",
    tuned_the_old_head: "parameter-not-updated",
    ends_in_a_square: "output-range",
}
HEALTHY = [tuned, frozen_body, distilled, made_anew_for_another_rate, by_turns, ends_free]


test_the_cause_comes_first, test_healthy_are_left_alone = rounds(CAUSES, HEALTHY)


def test_a_stage_is_watched_as_if_the_program_began_there():
    doctor = watched(tuned)
    host, stage = doctor.host, doctor.host.signals.after(doctor.host.since)
    assert (doctor.steps, host.since, stage.steps) == (300, 100, 200)
    assert len(stage.values("loss", "value")) == 200 and stage.facts["plain"]
    assert [o["rate"] for o in stage.facts["optimizers"]] == [3e-3]
    assert stage.first("loss", "value") > 1.2  # the new head knows nothing yet


def test_findings_of_an_earlier_stage_are_kept():
    def raw_then_scaled():
        x, y, *_ = digits()
        net = mlp(64, 48, 10)
        fit(net, x * 400, y, optimizer=torch.optim.SGD(net.parameters(), 0.1), steps=60)
        other = mlp(64, 48, 10)
        fit(other, x, y, optimizer=adam(other.parameters()), steps=150)

    found = watched(raw_then_scaled).findings
    assert [(f["id"], f["first_step"]) for f in found if f["severity"] != "info"][:1] == [
        ("input-not-normalized", 0)]  # fmt: skip


def test_an_optimizer_over_the_same_weights_goes_on():
    host = watched(made_anew_for_another_rate).host
    assert host.since == 0 and len(host.counts) == 1 and host.signals.facts["plain"]
    assert len(set(host.signals.values("optimizer", "rate"))) == 3


def test_a_layer_put_in_on_the_way_has_the_name_of_its_place():
    facts = watched(tuned).host.signals.facts["parameters"]
    assert [r["name"] for r in facts][-2:] == ["4.weight", "4.bias"]
    assert not any(r["stray"] for r in facts)
