"""Ordinary programs in styles that the ward's generator does not draw: bit-identical, rightly judged."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import batches, digits, mlp

from visus.doctor import Doctor


def adversarial(*, cut=False, steps=120):
    """A GAN: two networks and two optimizers take turns; `cut`: the maker learns nothing."""
    x, *_ = digits()
    maker = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.Sigmoid())
    judge = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(64, 1))
    a = torch.optim.Adam(maker.parameters(), lr=2e-4, betas=(0.5, 0.999))
    b = torch.optim.Adam(judge.parameters(), lr=2e-4, betas=(0.5, 0.999))
    yes, no, loss = torch.ones(32, 1), torch.zeros(32, 1), F.binary_cross_entropy_with_logits
    for rows in batches(len(x), 32, steps):
        a.zero_grad()
        fake = maker(torch.randn(32, 16))
        loss(judge(fake.detach() if cut else fake), yes).backward()
        a.step()
        b.zero_grad()
        (loss(judge(x[rows]), yes) + loss(judge(fake.detach()), no)).backward()
        b.step()
    return maker, judge


def cut_adversarial():
    return adversarial(cut=True)


def gradient_penalty():
    maker, judge = mlp(8, 32, 2), mlp(2, 32, 1)
    a = torch.optim.Adam(maker.parameters(), 1e-3)
    b = torch.optim.Adam(judge.parameters(), 1e-3)
    for _ in range(40):
        angle = torch.randn(32) * 3
        real = torch.stack([angle.cos(), angle.sin()], 1)
        fake = maker(torch.randn(32, 8))
        mid = (0.5 * real + 0.5 * fake.detach()).requires_grad_()
        slope = torch.autograd.grad(judge(mid).sum(), mid, create_graph=True)[0]
        loss = (
            judge(fake.detach()).mean() - judge(real).mean() + ((slope.norm(2, 1) - 1) ** 2).mean()
        )
        b.zero_grad()
        loss.backward()
        b.step()
        a.zero_grad()
        (-judge(maker(torch.randn(32, 8))).mean()).backward()
        a.step()
    return maker, judge


class Recurrent(nn.Module):
    def __init__(self, letters=0):
        super().__init__()
        self.embed = nn.Embedding(letters, 8) if letters else nn.Identity()
        self.body, self.head = nn.GRU(8, 48, batch_first=True), nn.Linear(48, letters or 10)

    def forward(self, x):
        states = self.body(self.embed(x))[0]
        return self.head(states if isinstance(self.embed, nn.Embedding) else states[:, -1])


def sequence():
    x, y, xv, yv = digits()
    model = Recurrent()
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=150)
    for k, rows in enumerate(batches(len(x), 32, 150)):
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x[rows].view(-1, 8, 8)), y[rows], label_smoothing=0.1)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if k % 46 == 45:
            model.eval()
            with torch.inference_mode():
                (model(xv.view(-1, 8, 8)).argmax(1) == yv).float().mean().item()
            model.train()
    return (model,)


def text():
    """Letters of a text follow no balance and no order that a rule may complain of."""
    line = "the quick brown fox jumps over the lazy dog and sells shells by the sea shore " * 20
    letters = sorted(set(line))
    ids = torch.tensor([letters.index(c) for c in line])
    model = Recurrent(len(letters))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(120):
        starts = torch.randint(0, len(ids) - 25, (16,))
        rows = torch.stack([ids[k : k + 25] for k in starts])
        out = model(rows[:, :-1]).reshape(-1, len(letters))
        loss = F.cross_entropy(out, rows[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (model,)


def soft_targets():
    """An autoencoder with two-class loss on grey pixels: its lowest loss is far above zero."""
    x, *_ = digits()
    model = mlp(64, 32, 64)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for rows in batches(len(x), 50, 240):
        loss = F.binary_cross_entropy_with_logits(model(x[rows]), x[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (model,)


def noisy_line():
    """A line through noisy points: what is left is noise, not a lack of capacity."""
    x = torch.rand(480, 1) * 2 - 1
    y = 3 * x + 2 + 1.5 * torch.randn(480, 1)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for rows in batches(480, 32, 225):
        loss = nn.MSELoss()(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (model,)


def moving_targets():
    """Targets made by a copy of the network, as in Q-learning, drift; they are not sorted."""
    model = mlp(4, 64, 2)
    copied = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for k in range(200):
        x, act, then = torch.randn(32, 4), torch.randint(0, 2, (32, 1)), torch.randn(32, 4)
        with torch.no_grad():
            best = copied(then).max(1, keepdim=True)[0]
        goal = ((x[:, :1] > 0).long() == act).float() + 0.5 * best
        loss = F.smooth_l1_loss(model(x).gather(1, act), goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if k % 50 == 49:
            copied.load_state_dict(model.state_dict())
    return model, copied


def averaged():
    """An exponential average of the weights and statistics, evaluated in place of the network."""
    x, y, xv, yv = digits()
    model = mlp(64, 64, 10, norm=nn.BatchNorm1d)
    mean = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for k, rows in enumerate(batches(len(x), 50, 150)):
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
        with torch.no_grad():
            pairs = zip(mean.state_dict().values(), model.state_dict().values(), strict=True)
            for ours, theirs in pairs:
                ours.copy_(torch.lerp(ours, theirs, 0.1) if ours.is_floating_point() else theirs)
            if k % 50 == 49:
                (mean(xv).argmax(1) == yv).float().mean().item()
    return model, mean


def several_heads():
    x, y, *_ = digits()
    body, first, second = mlp(64, 64), nn.Linear(64, 10), nn.Linear(64, 1)
    groups = [{"params": m.parameters()} for m in (body, first, second)]
    optimizer = torch.optim.Adam(groups, lr=2e-3)
    size = x.sum(1, keepdim=True) / 20 - 1
    for rows in batches(len(x), 32, 200):
        shared = F.relu(body(x[rows]))
        loss = F.cross_entropy(first(shared), y[rows]) + F.smooth_l1_loss(
            second(shared), size[rows]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return body, first, second


def half_precision():
    x, y, xv, yv = digits()
    model = mlp(64, 64, 10)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for k, rows in enumerate(batches(len(x), 32, 150)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if k % 50 == 49:
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                (model(xv).argmax(1) == yv).float().mean().item()
    return (model,)


def closure():
    x, y, *_ = digits()
    model = mlp(64, 32, 10, act=nn.Tanh)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)

    def value():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[:500]), y[:500])
        loss = loss + 1e-3 * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        return loss

    for _ in range(20):
        optimizer.step(value)
    return (model,)


PROGRAMS = {
    adversarial: None, cut_adversarial: "parameter-without-gradient", gradient_penalty: None, sequence: None,
    text: None, soft_targets: None, noisy_line: None, moving_targets: None, averaged: None, several_heads: None,
    half_precision: None, closure: None,
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_a_style_is_followed_bit_by_bit_and_judged_rightly(program):
    torch.manual_seed(0)
    alone = program()
    drawn = torch.rand(3)
    torch.manual_seed(0)
    with Doctor() as doctor:
        watched = program()
    assert torch.equal(drawn, torch.rand(3))
    for a, b in zip(alone, watched, strict=True):
        for left, right in zip(a.state_dict().values(), b.state_dict().values(), strict=True):
            assert torch.equal(left, right)
    grave = [f["id"] for f in doctor.findings if f["severity"] != "info"]
    first = PROGRAMS[program]
    assert grave[:1] == ([first] if first else []) and doctor.errors == []
