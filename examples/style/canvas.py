"""Pictures read and drawn, with Pillow alone."""

import os
import tarfile
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

ARCHIVE = "pacs96.tar.xz"


def folder(given: str | None, out: Path) -> Path:
    """The PACS pictures: the folder given, or the archive in $VISUS_DATA, unpacked once."""
    if given:
        return Path(given)
    archive = Path(os.environ.get("VISUS_DATA", "")) / ARCHIVE
    if not archive.is_file():
        raise SystemExit(
            f"style: give the pacs96 folder, or set VISUS_DATA to the folder of {ARCHIVE}"
        )
    if not (out / "pacs96").is_dir():
        with tarfile.open(archive) as tar:
            tar.extractall(out, filter="data")
    return out / "pacs96"


def read(paths: list[Path], size: int) -> Tensor:
    """Square pictures `(N, 3, size, size)` in [0, 1]."""
    found = [
        Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
        for path in paths
    ]
    flat = [torch.frombuffer(bytearray(one.tobytes()), dtype=torch.uint8) for one in found]
    return torch.stack(flat).view(-1, size, size, 3).permute(0, 3, 1, 2).float() / 255


def picture(x: Tensor, scale: int = 1) -> Image.Image:
    """One `(3, H, W)` as an image."""
    pixels = (x.detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous()
    made = Image.frombytes("RGB", (x.shape[2], x.shape[1]), pixels.numpy().tobytes())
    return made.resize((x.shape[2] * scale, x.shape[1] * scale), Image.Resampling.BICUBIC)


def sheet(columns: dict[str, list[Tensor]], path: Path) -> None:
    """Named columns of pictures."""
    cells = {name: [picture(x, 2) for x in column] for name, column in columns.items()}
    side, gap, top = next(iter(cells.values()))[0].width, 8, 26
    rows = max(map(len, cells.values()))
    made = Image.new("RGB", ((side + gap) * len(cells) + gap, top + (side + gap) * rows), "white")
    draw = ImageDraw.Draw(made)
    for n, (name, column) in enumerate(cells.items()):
        left = gap + n * (side + gap)
        draw.text((left, 6), name, fill="black", font_size=15)
        for k, one in enumerate(column):
            made.paste(one, (left, top + k * (side + gap)))
    made.save(path)


def gates(layers: dict[str, Tensor], path: Path) -> None:
    """A row a layer, a cell a channel: blue is instance norm (0), orange batch norm (1)."""
    cell, left, top, line = 13, 150, 34, 22
    widest = max(len(gate) for gate in layers.values())
    made = Image.new("RGB", (left + cell * widest + 80, top + line * len(layers) + 10), "white")
    draw = ImageDraw.Draw(made)
    draw.text(
        (8, 8),
        "gate of each channel: 0 instance (blue) to 1 batch (orange); mean",
        fill="black",
        font_size=13,
    )
    for row, (name, gate) in enumerate(layers.items()):
        y = top + row * line
        draw.text((8, y), name, fill="black", font_size=13)
        for k, share in enumerate(sorted(gate.tolist())):
            color = tuple(
                round(a + (b - a) * share)
                for a, b in zip((10, 102, 176), (240, 140, 40), strict=True)
            )
            draw.rectangle(
                (left + k * cell, y, left + (k + 1) * cell - 2, y + line - 5), fill=color
            )
        draw.text(
            (left + cell * widest + 12, y), f"{float(gate.mean()):.2f}", fill="black", font_size=13
        )
    made.save(path)


def curves(losses: dict[str, list[float]], path: Path) -> None:
    """Loss by step, the logarithm upward."""
    width, height, pad = 560, 300, 46
    colors = {"batch": "#b5420b", "instance": "#0a66b0", "batch-instance": "#1a7a4c"}
    flat = [torch.tensor(v).log() for v in losses.values()]
    low, high = min(float(v.min()) for v in flat), max(float(v.max()) for v in flat)
    made = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(made)
    draw.text((pad, 8), "loss (log) by step", fill="black", font_size=14)
    for n, (name, values) in enumerate(zip(losses, flat, strict=True)):
        xs = torch.linspace(pad, width - 12, len(values)).tolist()
        ys = [height - 24 - (float(v) - low) / (high - low) * (height - 60) for v in values]
        color = colors.get(name, "black")
        draw.line(list(zip(xs, ys, strict=True)), fill=color, width=2)
        draw.text(
            (width - 190, 8 + 17 * n), f"{name}: {losses[name][-1]:.3f}", fill=color, font_size=14
        )
    for value in (low, high):
        y = height - 24 - (value - low) / (high - low) * (height - 60)
        draw.text((4, y - 7), f"{torch.tensor(value).exp():.2g}", fill="black", font_size=12)
    made.save(path)
