"""Programs as strangers write them, whose cause the doctor once missed; and three it once accused."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import batches, digits, mlp, rounds, validate  # pyright: ignore[reportMissingImports]


def scheduler_in_the_batch_loop():
    x, y, *_ = digits()
    model = mlp(64, 64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.1)  # meant: epochs
    for rows in batches(len(x), 32, 160):
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
        schedule.step()


def head_replaced_after_the_second_optimizer():
    x, y, *_ = digits()
    model = mlp(64, 64, 5)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for part, steps in ((y < 5, 30), (y >= 5, 100)):
        a, b = x[part], y[part] % 5
        for rows in batches(len(a), 32, steps):
            optimizer.zero_grad()
            F.cross_entropy(model(a[rows]), b[rows]).backward()
            optimizer.step()
        for p in model[0].parameters():
            p.requires_grad_(False)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        model[2] = nn.Linear(64, 5)


def wrong_labels(classes):
    """Three in ten labels drawn anew; with two classes, turned round. Not yet learned by heart."""
    x, y, xv, yv = digits()
    g = torch.Generator().manual_seed(3)
    for t in (y, yv):
        bad = torch.rand(len(t), generator=g) < 0.3
        other = torch.randint(0, 10, t.shape, generator=g)
        t.copy_(torch.where(bad, other, t) if classes > 2 else (t % 2) ^ bad.long())
    model = mlp(64, 64, classes)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step, rows in enumerate(batches(len(x), 32, 200)):
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
        if step % 25 == 24:
            validate(model, xv, yv)


def wrong_labels_of_ten():
    wrong_labels(10)


def wrong_labels_of_two():
    wrong_labels(2)


def wrong_labels_in_train_alone():
    """A third of the training labels drawn anew, those of validation right: nearly by heart."""
    x, y, xv, yv = digits()
    g = torch.Generator().manual_seed(5)
    wrong = torch.rand(len(y), generator=g) < 0.35
    y[wrong] = torch.randint(0, 10, (int(wrong.sum()),), generator=g)
    model = mlp(64, 256, 10)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for step, rows in enumerate(batches(len(x), 64, 300)):
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
        if step % 23 == 22:
            validate(model, xv, yv)


def adam_ten_thousand_times_too_slow():
    """A convolution net that no short experiment fits one batch with: only proportion tells."""
    x, y, *_ = digits()
    model = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 2e-7)
    for rows in batches(len(x), 64, 150):
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()


def split_drawn_with_repetition():
    x, y, *_ = digits()
    g = torch.Generator().manual_seed(0)
    train, val = (torch.randint(0, 900, (n,), generator=g) for n in (700, 300))
    model = mlp(64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for step, rows in enumerate(batches(700, 32, 200)):
        optimizer.zero_grad()
        F.cross_entropy(model(x[train[rows]]), y[train[rows]]).backward()
        optimizer.step()
        if step % 22 == 21:
            validate(model, x[val], y[val], size=300)


def two_optimizers_far_too_fast():
    x, y, *_ = digits()
    body, head = mlp(64, 96, 32), nn.Linear(32, 10)
    first = torch.optim.AdamW(body.parameters(), lr=0.3)
    second = torch.optim.SGD(head.parameters(), lr=1.0, momentum=0.9)
    for rows in batches(len(x), 32, 120):
        loss = F.cross_entropy(head(torch.relu(body(x[rows]))), y[rows])
        first.zero_grad()
        second.zero_grad()
        loss.backward()
        first.step()
        second.step()


def step_forgotten():
    x, y, *_ = digits()
    model = mlp(64, 32, 10)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for rows in batches(len(x), 32, 60):
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()


def log_of_a_probability_that_came_to_zero():
    x, y, *_ = digits()
    model = nn.Sequential(mlp(64, 256, 10), nn.Softmax(1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    truth = F.one_hot(y, 10).float()
    for rows in batches(len(x), 64, 150):
        p, t = model(x[rows] * 3), truth[rows]
        loss = -(t * torch.log(p) + (1 - t) * torch.log(1 - p)).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def healthy_tiny_batches():
    x, y, xv, yv = digits()
    model = mlp(64, 32, 10, norm=nn.LayerNorm)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for step, rows in enumerate(batches(len(x), 4, 200)):
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows] + 0.5 * torch.randn(4, 64)), y[rows]).backward()
        optimizer.step()
        if step % 100 == 99:
            validate(model, xv, yv)


def healthy_two_optimizers():
    x, y, *_ = digits()
    body, head = mlp(64, 96, 32), nn.Linear(32, 10)
    first = torch.optim.AdamW(body.parameters(), lr=2e-3)
    second = torch.optim.SGD(head.parameters(), lr=0.05, momentum=0.9)
    for rows in batches(len(x), 32, 120):
        loss = F.cross_entropy(head(torch.relu(body(x[rows]))), y[rows])
        first.zero_grad()
        second.zero_grad()
        loss.backward()
        first.step()
        second.step()


def healthy_cross_validation():
    x, y, *_ = digits()
    for fold in range(3):
        held = torch.arange(len(x)) % 3 == fold
        model = nn.Sequential(mlp(64, 64, 32), nn.Dropout(0.2), nn.Linear(32, 10))
        optimizer = torch.optim.Adam(model.parameters(), 2e-3)
        a, b = x[~held], y[~held]
        for step, rows in enumerate(batches(len(a), 32, 60)):
            optimizer.zero_grad()
            F.cross_entropy(model(a[rows]), b[rows]).backward()
            optimizer.step()
            if step % 30 == 29:
                validate(model, x[held], y[held])
        model.eval()


CAUSES = {
    scheduler_in_the_batch_loop: "learning-rate-too-small",
    head_replaced_after_the_second_optimizer: "parameter-not-updated",
    wrong_labels_of_ten: "label-noise",
    wrong_labels_of_two: "label-noise",
    wrong_labels_in_train_alone: "label-noise",
    adam_ten_thousand_times_too_slow: "learning-rate-too-small",
    split_drawn_with_repetition: "split-leak",
    two_optimizers_far_too_fast: "learning-rate-too-large",
    step_forgotten: "parameter-not-updated",
    log_of_a_probability_that_came_to_zero: "loss-not-finite",
}


HEALTHY = [healthy_tiny_batches, healthy_two_optimizers, healthy_cross_validation]


test_the_cause_comes_first, test_healthy_are_left_alone = rounds(CAUSES, HEALTHY)
