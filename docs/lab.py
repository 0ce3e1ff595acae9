"""Write docs/lab.md: every experiment with its claim, and the verdicts of a folder of results.

python docs/lab.py [FOLDER]     FOLDER is what `visus lab all --quick --out FOLDER` left
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from visus.lab import experiments, runner  # noqa: E402

HEAD = """<!-- Written by docs/lab.py: change the claims in visus/lab, then run it again. -->

# The lab

`visus lab` lists the lecture's claims; `visus lab NAME...` measures some, `visus lab all --quick` all of them in minutes on two cores, `--full` at full size: wider networks, more steps and, in ten experiments, the photographs of CIFAR-10 where `VISUS_DATA` names a folder with `cifar10.tar.xz` (class folders under `train/`), on the GPU where there is one. Without either word the size is full where there is a GPU, else quick. A figure says under it which images it was measured on. Each leaves a figure (SVG, PNG) and its numbers (JSON) in `--out`; `gallery.html` there shows all on one page. What is finished is reused until its code or settings change, or with `--again`.

A claim is a few checks, each a number by seed with Student's 95 % interval. It *holds* where every interval lies on the claimed side; it *does not hold at this size* where one lies on the other; it is *not shown at this size* where one reaches across. At the quick size the images are scikit-learn's digits. All of `--quick` from an empty folder took 7 minutes on two cores (14 of processor time): seeds run beside each other, and `norm-batch-size`, the longest, has nearly half of them. Seeds and sizes are chosen so that a claim that is true can be settled: where more seeds than five were needed, the first five had left it open (`bn-noise`, `all-cnn`, `receptive-field`, `regularization`), and the digits of `norm-batch-size` are noisy, because plain ones are learned at any batch size.

| experiment | claim | verdict (quick) | numbers |
| --- | --- | --- | --- |
"""


def row(name: str, folder: Path | None) -> str:
    """A line of the table; "not measured here" where the folder has no result of this code."""
    experiment = experiments[name]()
    held = runner.kept(name, folder, runner.marked(name, "quick")) if folder else None
    verdict, numbers = "not measured here", ""
    if held is not None:
        verdict, numbers = held["verdict"], "; ".join(c["sentence"] for c in held["checks"])
    cells = (f"`{name}`", experiment.claim, verdict, numbers)
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |\n"


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]) if arguments else None
    text = HEAD + "".join(row(name, folder) for name in runner.names(["all"]))
    (ROOT / "docs" / "lab.md").write_text(text, encoding="utf-8")
    counts = json.dumps(text.count("not measured here"))
    print(f"docs: lab.md written, {counts} experiments without a result")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
