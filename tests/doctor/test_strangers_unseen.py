"""More programs as strangers write them: bare tensors, frozen by mistake, judged after `train()`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import batches, digits, fit, mlp, numbers, rounds, watched  # pyright: ignore[reportMissingImports]


def learn(net, loss, steps=120, rate=3e-3, size=32, n=1500, then=None):
    """Adam on digits; `then(step)` is called after each step."""
    x, y, *_ = digits()
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], rate)
    fit(net, x[:n], y[:n], optimizer=optimizer, loss=loss, steps=steps, size=size, each=then)


class Wake(nn.Module):
    """A network whose dropout knows nothing of `eval()`, unless it is told."""

    def __init__(self, told):
        super().__init__()
        self.a, self.b, self.told = nn.Linear(64, 64), nn.Linear(64, 10), told

    def forward(self, x):
        return self.b(F.dropout(self.a(x).relu(), 0.5, training=self.training or not self.told))


def dropout_as_a_function(told=False):
    net, (_, _, xv, yv) = Wake(told), digits()

    def judge(step):
        if step % 40 == 39:
            net.eval()
            with torch.no_grad():
                F.cross_entropy(net(xv), yv)
            net.train()

    learn(net, F.cross_entropy, then=judge)


def dropout_told_of_the_mode():
    dropout_as_a_function(told=True)


def frozen_before_it_learned(taught=False):
    net = mlp(64, 12, 10)
    if taught:
        learn(net, F.cross_entropy, rate=1e-2)
        net[2] = nn.Linear(12, 10)
    net[0].requires_grad_(False)
    learn(net, F.cross_entropy, rate=1e-2)


def frozen_after_it_learned():
    frozen_before_it_learned(taught=True)


def cleared_between_backward_and_step():
    x, y, *_ = digits()
    net = mlp(64, 32, 10)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for rows in batches(1500, 32, 80):
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.zero_grad()
        optimizer.step()


def divergence_of_probabilities():
    def loss(p, y):
        return F.kl_div(p, F.one_hot(y, 10).float() * 0.9 + 0.01, reduction="batchmean")

    learn(nn.Sequential(mlp(64, 32, 10), nn.Softmax(1)), loss)


def bounded(width):
    """Targets of unit variance, outputs within plus and minus `width`."""
    x, y = numbers()
    net = mlp(8, 32, 1)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for rows in batches(1200, 32, 120):
        out = 2 * width * torch.sigmoid(net(x[rows])) - width
        optimizer.zero_grad()
        ((out - y[rows]) ** 2).mean().backward()
        optimizer.step()


def out_of_reach():
    bounded(1.0)


def within_reach():
    bounded(4.0)


def bare(rate=0.2, clear=True, last=None, by_hand=True):
    """Two layers of plain tensors, updated by hand or by SGD."""
    x, y, *_ = digits()
    g = torch.Generator().manual_seed(0)
    w1, b1 = torch.randn(64, 64, generator=g) * 0.18, torch.zeros(64)
    w2, b2 = torch.randn(64, 10, generator=g) * 0.12, torch.zeros(10)
    weights = [w.requires_grad_() for w in (w1, b1, w2, b2)]
    optimizer = None if by_hand else torch.optim.SGD(weights, rate)
    for rows in batches(1500, 32, 150):
        out = torch.relu(x[rows] @ w1 + b1) @ w2 + b2
        F.cross_entropy(last(out) if last else out, y[rows]).backward()
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()
            continue
        with torch.no_grad():
            for w in weights:
                assert w.grad is not None
                w -= rate * w.grad
                w.grad = None if clear else w.grad


def bare_never_cleared():
    bare(clear=False)


def bare_too_fast():
    bare(rate=30.0)


def bare_softmax_twice():
    bare(last=lambda out: out.softmax(1), by_hand=False)


def bare_with_an_optimizer():
    bare(by_hand=False)


def few_samples_by_heart():
    """Judged by the answers of `max`, compared with the labels after `train()`."""
    net, (_, _, xv, yv) = mlp(64, 256, 256, 10), digits()
    g = torch.Generator().manual_seed(0)
    xv = xv + 0.5 * torch.randn(xv.shape, generator=g)

    def judge(step):
        if step % 20 == 19:
            net.eval()
            with torch.no_grad():
                _, answer = torch.max(net(xv), 1)
            net.train()
            assert (answer == yv).float().mean() > 0.1

    learn(net, F.cross_entropy, steps=150, size=24, n=72, then=judge)


def rare(shift):
    """One sample in seventeen belongs to the other class, `shift` deviations away."""
    g = torch.Generator().manual_seed(0)
    y = (torch.rand(2400, generator=g) < 0.06).float()
    x = torch.randn(2400, 10, generator=g)
    x[:, 0] += shift * y
    net = mlp(10, 16, 1)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for rows in batches(2400, 64, 200):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(net(x[rows])[:, 0], y[rows]).backward()
        optimizer.step()


def rare_and_drowned():
    rare(1.0)


def rare_but_easy():
    rare(6.0)


def root_at_zero(eps=0.0):
    """Distances between all pairs of a batch: the diagonal is zero, and so is what its root divides by."""
    x, y, *_ = digits()
    net = mlp(64, 64, 8)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for rows in batches(1500, 32, 60):
        z = net(x[rows])
        far = ((z[None] - z[:, None]) ** 2).sum(-1).add(eps).sqrt()
        same = (y[rows][None] == y[rows][:, None]).float()
        optimizer.zero_grad()
        (same * far + (1 - same) * (1 - far).relu()).mean().backward()
        optimizer.step()


def root_above_zero():
    root_at_zero(eps=1e-6)


def judged_by_a_threshold(told=False):
    """Several yes-or-no answers, compared by `>` and `&`, never by a loss."""
    x, y, xv, yv = digits()
    goal, goal_v = ((t[:, None] & torch.tensor([1, 2, 4, 8])) > 0 for t in (y, yv))
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for step, rows in enumerate(batches(1500, 32, 160)):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(net(x[rows]), goal[rows].float()).backward()
        optimizer.step()
        if step % 40 == 39:
            net.train(not told)
            with torch.no_grad():
                hits = ((net(xv) > 0) & goal_v).sum()
            net.train()
            assert hits > 0


def judged_by_a_threshold_in_eval_mode():
    judged_by_a_threshold(told=True)


def thinned(factor=2e-2):
    """An L1 penalty, written into the loss."""
    net = mlp(64, 64, 10)

    def loss(out, y):
        return F.cross_entropy(out, y) + factor * sum(w.abs().sum() for w in net.parameters())

    learn(net, loss, steps=300)


def thinned_a_little():
    thinned(factor=2e-4)


def pairs_of_the_silent(bias=-8.0):
    """Which of two is larger; no unit ever answers, so that even the output's bias cancels."""
    x, y, *_ = digits()
    net = mlp(64, 32, 1)
    nn.init.constant_(net[0].bias, bias)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for one, two in zip(batches(700, 32, 120), batches(700, 32, 120), strict=True):
        two = two.flip(0)
        goal = (y[one] > y[two]).float()
        optimizer.zero_grad()
        gap = (net(x[one]) - net(x[two]))[:, 0]
        F.binary_cross_entropy_with_logits(gap, goal).backward()
        optimizer.step()


def normalized_with_other_numbers(right=False):
    x, y, *_ = digits()
    x = (x if right else x / 255).sub(0.45).div(0.25)
    net = mlp(64, 64, 64, 10)
    fit(net, x, y, optimizer=torch.optim.SGD(net.parameters(), 0.03), steps=150)


def normalized_with_its_own_numbers():
    normalized_with_other_numbers(right=True)


class Written(nn.Module):
    """A layer by hand, W as (inputs, units)."""

    def __init__(self, inputs, units, equal):
        super().__init__()
        drawn = torch.randn(inputs, units, generator=torch.Generator().manual_seed(units))
        self.W = nn.Parameter((torch.ones_like(drawn) if equal else drawn) / inputs**0.5)

    def forward(self, x):
        return x @ self.W


def equal_units_by_hand(equal=True):
    parts = [
        Written(64, 48, equal),
        nn.Tanh(),
        Written(48, 24, equal),
        nn.Tanh(),
        Written(24, 10, equal),
    ]
    learn(nn.Sequential(*parts), F.cross_entropy)


def drawn_units_by_hand():
    equal_units_by_hand(equal=False)


def numbers_by_heart(samples=60, noise=0.7):
    """Noisy numbers, judged by hand: the error on new ones never falls, nor does it rise."""
    x, y = numbers(1200, 16)
    y = y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    net = mlp(16, 128, 128, 1)

    def judge(step):
        if step % 40 == 39:
            with torch.no_grad():
                ((net(x[800:]) - y[800:]) ** 2).mean()

    fit(net, x[:samples], y[:samples], loss=F.mse_loss, steps=400, size=20, each=judge)


def many_numbers():
    numbers_by_heart(samples=800, noise=0.1)


CAUSES = {
    normalized_with_other_numbers: "input-not-normalized",
    numbers_by_heart: "overfitting",
    equal_units_by_hand: "init-symmetric",
    dropout_as_a_function: "mode-wrong",
    frozen_before_it_learned: "parameter-not-updated",
    cleared_between_backward_and_step: "parameter-not-updated",
    divergence_of_probabilities: "loss-mismatch",
    out_of_reach: "output-range",
    bare_never_cleared: "gradient-not-zeroed",
    bare_too_fast: "learning-rate-too-large",
    bare_softmax_twice: "loss-mismatch",
    few_samples_by_heart: "overfitting",
    rare_and_drowned: "class-imbalance",
    root_at_zero: "loss-not-finite",
    judged_by_a_threshold: "mode-wrong",
    thinned: "regularization-too-strong",
    pairs_of_the_silent: "relu-dead",
}

HEALTHY = [normalized_with_its_own_numbers, many_numbers, drawn_units_by_hand, dropout_told_of_the_mode, frozen_after_it_learned, within_reach, bare, bare_with_an_optimizer,
           rare_but_easy, root_above_zero, judged_by_a_threshold_in_eval_mode, thinned_a_little]  # fmt: skip


test_the_cause_comes_first, test_healthy_are_left_alone = rounds(CAUSES, HEALTHY)


def test_looks_go_on_beside_frequent_evaluations():
    net, (_, _, xv, yv) = mlp(64, 32, 10), digits()

    def judge(step):
        if step % 10 == 9:
            net.eval()
            with torch.no_grad():
                F.cross_entropy(net(xv), yv)
            net.train()

    doctor = watched(lambda: learn(net, F.cross_entropy, steps=250, then=judge))
    seen = [step for step, _ in doctor.host.signals.series("labels", "all_n")]
    # What the schedule asks for in any case beyond step 64: every twelfth part of the way.
    assert max(b - a for a, b in zip(seen, [*seen[1:], 250], strict=True)) <= 26
