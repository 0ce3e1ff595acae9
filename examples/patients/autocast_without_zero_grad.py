"""Mixed precision has a branch of its own, and that branch forgets `zero_grad`.

The fault is the one reported at https://github.com/facebookresearch/nwm/issues/16: gradients
are zeroed only where `bfloat_enable` is False. Written anew, as a small trainer on digits with
the same two branches, clipping and a flag that defaults to bfloat16.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.up, self.down = (
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.Linear(2 * width, width),
        )

    def forward(self, x):
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))


def train_step(model, opt, x, y, bfloat_enable, grad_clip_val):
    if bfloat_enable:
        with torch.amp.autocast("cpu", enabled=bfloat_enable, dtype=torch.bfloat16):
            loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if grad_clip_val > 0:
            torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip_val)
        opt.step()
    else:
        loss = nn.functional.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        if grad_clip_val > 0:
            torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip_val)
        opt.step()
    return loss.detach()


def main(args):
    torch.manual_seed(args.seed)
    x, y = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(x / 8 - 1, dtype=torch.float32), torch.tensor(y))
    loader = DataLoader(data, batch_size=args.batch_size, shuffle=True, drop_last=True)
    model = nn.Sequential(
        nn.Linear(64, 96), Block(96), Block(96), nn.LayerNorm(96), nn.Linear(96, 10)
    )
    opt = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0)
    train_steps, running_loss = 0, 0.0
    for _ in range(args.epochs):
        for xb, yb in loader:
            running_loss += train_step(model, opt, xb, yb, args.bfloat16, args.grad_clip_val).item()
            train_steps += 1
            if train_steps % 50 == 0:
                print(f"(step={train_steps:05d}) Train Loss: {running_loss / 50:.4f}")
                running_loss = 0.0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=11)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--grad-clip-val", type=float, default=10.0)
    parser.add_argument("--bfloat16", type=lambda s: s != "0", default=True)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
