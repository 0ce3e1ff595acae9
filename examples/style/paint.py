"""Style transfer with batch, instance and batch-instance norm, from nothing but a folder of pictures.

    python examples/style/paint.py [PACS96] [--out FOLDER] [--style PICTURE] [--steps K]

1. `visus.train` trains a small network to tell the 28 kinds of PACS pictures apart (7 things as photo,
   painting, cartoon, sketch): so it has to see things and manners. Nothing is downloaded.
2. Three small painters, equal but for their norm, learn to make photos look to that network like the
   photo in what is there and like the style picture in what goes with what (Gram matrices; Gatys et
   al. 2016, Johnson et al. 2016).
3. The pictures, the losses and the gates that batch-instance norm has learned are written to FOLDER.

A photo's contrast is its own affair and no part of a style: instance norm takes it away (Ulyanov et
al. 2017), batch norm keeps it. Batch-instance norm starts as batch norm and may choose by channel.
"""

import argparse
import csv
import time
from pathlib import Path

import torch
from canvas import curves, folder, gates, read, sheet
from networks import Features, Painter, gram

import visus
from visus.layers.norm_mixed import parameter_groups

NORMS = ("batch", "instance", "batch-instance")
STYLE = "art_painting/house/pic_058.jpg"
SIZE, BATCH, SHOWN = 64, 4, 5


def trained(data: Path, out: Path, limit: str) -> Features:
    """The network that sees; the second time it is there already."""
    kinds = sorted(path for path in data.glob("*/*") if path.is_dir())
    model = Features(len(kinds))
    run = visus.Run(out / "features", model)
    if not (out / "features" / "model.safetensors").is_file():
        manifest = out / "pictures.csv"
        with open(manifest, "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "target"])
            for kind in kinds:
                name = f"{kind.parent.name} {kind.name}"
                rows.writerows([path.resolve(), name] for path in sorted(kind.iterdir()))
        run = visus.train(
            manifest, model=model, time_limit=limit, out=out / "features", cure=False,
            set=[f"data.size={SIZE}", "optimizer.name=adamw", "optimizer.rate=0.004", "jitter=flip"],
        )  # fmt: skip
    print(
        f"the network that sees: test error {run.metrics['test_error']:.1%} over {len(kinds)} kinds"
    )
    return run.model.requires_grad_(False)


def painted(norm: str, eye, photos: torch.Tensor, style: torch.Tensor, steps: int, weight: float):
    """A painter with this norm, and its loss at each step."""
    torch.manual_seed(0)
    painter = Painter(norm)
    seen = eye.network.stages(normal(eye, style))
    wanted = [gram(f) for f in seen]
    optimizer = torch.optim.Adam(parameter_groups(painter, 2e-3))
    losses = []
    for step in range(steps):
        draw = torch.Generator().manual_seed(step)
        x = photos[torch.randint(len(photos), (BATCH,), generator=draw)]
        y = painter(x)
        is_, was = eye.network.stages(normal(eye, y)), eye.network.stages(normal(eye, x))
        content = apart(is_[1], was[1])
        manner = sum(apart(gram(f), g) for f, g in zip(is_, wanted, strict=True)) / len(wanted)
        rough = (y.diff(dim=2) ** 2).mean() + (y.diff(dim=3) ** 2).mean()
        loss = content + weight * manner + rough
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return painter.eval(), losses


def normal(eye, x: torch.Tensor) -> torch.Tensor:
    """Pictures as the trained network has them: mean 0 and deviation 1 by channel."""
    return (x - eye.mean) / eye.std


def apart(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Squared distance as a share of the squared length of `b`, a picture at a time."""
    return ((a - b) ** 2).flatten(1).mean(1).div((b**2).flatten(1).mean(1) + 1e-8).mean()


def smooth(values: list[float], over: int = 20) -> list[float]:
    return [
        sum(values[max(0, n - over) : n + 1]) / min(n + 1, over + 1) for n in range(len(values))
    ]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("data", nargs="?")
    words.add_argument("--out", type=Path, default=Path("runs/style"))
    words.add_argument("--style", help=f"a picture; default {STYLE} of the data")
    words.add_argument("--steps", type=int, default=400)
    words.add_argument("--weight", type=float, default=3.0, help="of the style beside the content")
    words.add_argument("--limit", default="2m", help="time for the network that sees")
    given = words.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    data = folder(given.data, given.out)
    eye = trained(data, given.out, given.limit)
    paths = sorted(data.glob("photo/*/*.jpg"))
    shown = read(paths[37 :: len(paths) // SHOWN][:SHOWN], 96)
    photos = read([path for n, path in enumerate(paths) if n % 3 == 0], SIZE)
    style = read([Path(given.style) if given.style else data / STYLE], 96)
    columns, losses = {"photo": list(shown), "style": [style[0]]}, {}
    for norm in NORMS:
        began = time.time()
        painter, found = painted(norm, eye, photos, style, given.steps, given.weight)
        losses[norm] = smooth(found)
        print(
            f"{norm:15} loss {losses[norm][-1]:.3f} after {given.steps} steps, {time.time() - began:.0f} s"
        )
        with torch.no_grad():
            columns[norm] = list(painter(shown))
        if norm == "batch-instance":
            kept = {
                name: m.gate.detach().clamp(0, 1)
                for name, m in painter.named_modules()
                if hasattr(m, "gate")
            }
            gates(
                {name.removeprefix("body."): gate for name, gate in kept.items()},
                given.out / "gates.png",
            )
            every = torch.cat(list(kept.values()))
            print(
                f"gates: mean {every.mean():.2f}; nearer to instance {float((every < 0.5).float().mean()):.0%}"
            )
    sheet(columns, given.out / "painted.png")
    curves(losses, given.out / "losses.png")
    print(f"pictures: {given.out}/painted.png, losses.png, gates.png")


if __name__ == "__main__":
    main()
