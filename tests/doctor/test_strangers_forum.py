"""Programs as puzzled people post them: losses made anew, warm-ups that never end, one optimizer of two."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from visus.doctor.diagnose import diagnose
from visus.doctor.signals import Signals

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import batches, digits, fit, mlp, rounds, watched  # pyright: ignore[reportMissingImports]


def loss_made_of_numbers(made=True):
    x, y, *_ = digits()
    net = mlp(64, 32, 10)

    def loss(out, y):
        halves = [F.cross_entropy(out[part], y[part]) for part in (slice(16), slice(16, 32))]
        numbers = [half.item() for half in halves]
        return torch.tensor(numbers, requires_grad=True).mean() if made else sum(halves) / 2

    fit(net, x, y, optimizer=torch.optim.Adam(net.parameters(), 3e-3), steps=60, loss=loss)


def loss_in_two_halves():
    loss_made_of_numbers(made=False)


def warm_up_without_end(steps=60_000):
    x, y, *_ = digits()
    net = mlp(64, 32, 10)
    optimizer = torch.optim.SGD(net.parameters(), 0.0, momentum=0.9)
    seen = [0]

    def rise(step):
        seen[0] += 1
        optimizer.param_groups[0]["lr"] = 0.1 * min(1.0, seen[0] / steps)

    rise(0)
    fit(net, x, y, optimizer=optimizer, steps=200, each=rise)


def warm_up_of_thirty():
    warm_up_without_end(30)


def two_optimizers(clear=False):
    x, y, *_ = digits()
    body, head = nn.Sequential(nn.Linear(64, 48), nn.ReLU()), nn.Linear(48, 10)
    slow = torch.optim.SGD(body.parameters(), 0.03)
    fast = torch.optim.SGD(head.parameters(), 0.05, momentum=0.9)
    for rows in batches(1400, 32, 120):
        fast.zero_grad()
        if clear:
            slow.zero_grad()
        F.cross_entropy(head(body(x[rows])), y[rows]).backward()
        slow.step()
        fast.step()


def two_optimizers_both_cleared():
    two_optimizers(clear=True)


def known_by_heart(units=128, steps=400, noise=1.0):
    torch.manual_seed(3)
    x = torch.randn(300, 8)
    y = x[:, 0] + noise * torch.randn(300)
    net = nn.Sequential(nn.Linear(8, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, 1), nn.Flatten(0))  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    fit(net, x[:100], y[:100], optimizer=optimizer, steps=steps, loss=F.mse_loss, size=20)
    with torch.no_grad():
        F.mse_loss(net(x[100:]), y[100:])


def numbers_without_noise():
    known_by_heart(noise=0.05)


def rare_and_weighted():
    torch.manual_seed(0)
    y = (torch.rand(2000) < 0.04).float()
    x = torch.randn(2000, 10) + 1.5 * y[:, None] * torch.ones(10)
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    weighted = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(24.0))
    fit(
        net,
        x,
        y,
        optimizer=torch.optim.Adam(net.parameters(), 3e-3),
        steps=200,
        loss=weighted,
        size=64,
    )


class Reader(nn.Module):
    """Eight rows, then nothing until `length`; read behind the last step."""

    def __init__(self, length):
        super().__init__()
        self.length, self.rnn, self.out = length, nn.RNN(8, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x):
        rows = F.pad(x.view(-1, 8, 8), (0, 0, 0, self.length - 8))
        return self.out(self.rnn(rows)[0][:, -1])


def rows_long_ago(length=72):
    x, y, *_ = digits()
    net = Reader(length)
    fit(net, x, y, optimizer=torch.optim.Adam(net.parameters(), 3e-3), steps=100)


def rows_just_read():
    rows_long_ago(8)


def wrong_labels_learned_in_the_end(wrong=0.6):
    torch.manual_seed(0)
    x, y, xv, yv = digits()
    y = torch.where(torch.rand(len(y)) < wrong, torch.randint(0, 10, y.shape), y)
    net = mlp(64, 256, 10)

    def judge(step):
        if step % 40 == 39:
            with torch.no_grad():
                F.cross_entropy(net(xv), yv)

    fit(
        net,
        x,
        y,
        optimizer=torch.optim.Adam(net.parameters(), 3e-3),
        steps=400,
        each=judge,
        size=64,
    )


def right_labels():
    wrong_labels_learned_in_the_end(0.0)


def brightness_alone():
    x, y, *_ = digits()
    net = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 1),
        nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    fit(net, x, y, optimizer=torch.optim.Adam(net.parameters(), 0.01), steps=200)


def judged_in_two_parts():
    """The head of today on the body's answers of long ago would err far more than it does."""
    x, y, xv, yv = digits()
    body, head = nn.LSTM(8, 32, batch_first=True), nn.Linear(32, 10)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], 1e-2)
    for step, rows in enumerate(batches(1400, 32, 250)):
        optimizer.zero_grad()
        F.cross_entropy(head(body(x[rows].view(-1, 8, 8))[0][:, -1]), y[rows]).backward()
        optimizer.step()
        if step in (20, 40, 60):
            with torch.no_grad():
                F.cross_entropy(head(body(xv.view(-1, 8, 8))[0][:, -1]), yv)


def dead_by_hand(shift=-0.17):
    torch.manual_seed(0)
    x, y, *_ = digits()
    x = x - x.min()
    first = (torch.randn(64, 64) * 0.1 + shift).requires_grad_()
    second = (torch.randn(64, 10) * 0.2).requires_grad_()
    for rows in batches(1400, 32, 120):
        loss = F.cross_entropy((x[rows] @ first).clamp(min=0) @ second, y[rows])
        loss.backward()
        with torch.no_grad():
            for w in (first, second):
                w -= 0.02 * w.grad
                w.grad = None


def alive_by_hand():
    dead_by_hand(0.0)


SICK = {
    dead_by_hand: "relu-dead",
    loss_made_of_numbers: "parameter-without-gradient",
    warm_up_without_end: "learning-rate-too-small",
    two_optimizers: "gradient-not-zeroed",
    known_by_heart: "overfitting",
    rows_long_ago: "gradient-vanishing",
    wrong_labels_learned_in_the_end: "label-noise",
    brightness_alone: "underfitting",
}
HEALTHY = [
    loss_in_two_halves, warm_up_of_thirty, two_optimizers_both_cleared, numbers_without_noise, rare_and_weighted,
    rows_just_read, right_labels, judged_in_two_parts, alive_by_hand,
]  # fmt: skip


test_the_cause_comes_first, test_healthy_are_left_alone = rounds(SICK, HEALTHY)


def test_a_layer_replaced_on_the_way_is_no_error_of_the_doctor():
    x, y, *_ = digits()
    net = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10)
    )

    def program():
        fit(net, x, y % 2, optimizer=torch.optim.Adam(net.parameters(), 3e-3), steps=60)
        net[2], net[4] = nn.Linear(64, 8), nn.Linear(8, 10)
        fit(net, x, y, optimizer=torch.optim.Adam(net.parameters(), 3e-3), steps=60)

    assert watched(program).errors == []


class ByHand(nn.Module):
    """Layers written as x @ W, W of shape (inputs, units), drawn for that."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.randn(64, 16) * (2 / 64) ** 0.5)
        self.second = nn.Parameter(torch.randn(16, 10) * (2 / 16) ** 0.5)

    def forward(self, x):
        return (x @ self.first).relu() @ self.second


def test_weights_by_hand_are_measured_the_way_round_they_are_used():
    x, y, *_ = digits()
    net = ByHand()
    doctor = watched(
        lambda: fit(net, x, y, optimizer=torch.optim.Adam(net.parameters(), 3e-3), steps=40)
    )
    for place in ("first", "second"):  # He: root mean square times the square root of the inputs
        assert doctor.host.signals.first(place, "scale") == pytest.approx(2**0.5, rel=0.15)


@pytest.mark.parametrize(("taught", "accused"), [(0.2, True), (0.78, False)])
def test_random_frozen_layers_are_accused_where_teaching_them_teaches_more(taught, accused):
    s, row = Signals(), {"trainable": True, "optimizer": True, "granted": True, "gradient": True, "moved": True,
                         "tracked": True, "tried": True, "paid": True, "shifted": True, "asked": True, "fresh": False}  # fmt: skip
    frozen = row | dict.fromkeys(("trainable", "optimizer", "granted", "gradient", "moved", "tried", "asked"), False)  # fmt: skip
    s.facts["parameters"] = [
        frozen | {"name": "a.weight", "size": 900, "fresh": True}, row | {"name": "b.weight", "size": 100},
    ]  # fmt: skip
    s.facts |= {"task": "classification", "majority": 0.1, "classes": 10}
    s.steps, s.layers = 100, [{"place": "a"}, {"place": "b"}]
    for step in range(100):
        s.add("loss", "value", step, 2.1)
    s.add("final", "train_error", 100, 0.75)
    for name, value in (("kept", 0.8), ("taught", taught), ("n", 110)):
        s.add("thaw", name, 0, value)
    found = diagnose(s, ["parameter-not-updated"])
    assert found[1] == [] and bool(found[0]) == accused
