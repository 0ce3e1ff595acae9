"""How often does the doctor name the right cause, and how often does it cry wolf?

Draws programs (data x architecture x optimizer x fault x strength, and healthy ones of many
styles), runs each under the doctor and under the thresholds of two published tools, and prints
recall, precision, first-cause accuracy, false alarms, calibration and overhead. Programs with an even
number are for tuning the rules, those with an odd number are only observed.

    VISUS_CIFAR10=FOLDER python benchmarks/ward.py --n 120 --half observed [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections import Counter
from pathlib import Path

import torch
from ward_faults import FAULTS, STYLES
from ward_peers import PEERS, Tools
from ward_programs import Program

from visus.doctor import Doctor
from visus.doctor.progress import learned


def draw(number: int) -> Program:
    """Program `number`: two of three are sick; the same number is the same program."""
    p = Program(1000 + number)
    if number // 2 % 3 == 2:
        style = STYLES[number // 6 % len(STYLES)]
        p.style = style.__name__[6:]
        style(p)
    else:
        names = list(FAULTS)
        index = (number // 6) * 2 + (number // 2) % 3
        p.fault = fault = names[index % len(names)]
        FAULTS[fault](p)
        if p.fault == "norm-train-test-gap" and p.image is False and p.batch < 8:
            p.batch = 32
    return p


# ---------------------------------------------------------------------------- measure
def observe(number: int) -> dict:
    p = draw(number)
    torch.manual_seed(number)
    crash = ""
    begin = time.perf_counter()
    try:
        with Doctor() as doctor:
            doctor.host.add(tools := Tools(doctor.host))
            p.run()
    except Exception as error:
        crash = f"{type(error).__name__}: {str(error)[:60]}"
    s = doctor.host.signals
    grave = [f for f in doctor.findings if f["severity"] != "info"]
    return {
        "number": number, "fault": p.fault, "style": p.style, "task": p.task, "conv": p.conv,
        "optimizer": p.optimizer, "norm": p.norm, "found": [f["id"] for f in grave],
        "sure": [f["confidence"] for f in grave], "first_step": grave[0]["first_step"] if grave else None,
        "peers": {name: sorted(says(tools, s)) for name, says in PEERS.items()},
        "told": [(f["id"], f["confidence"], f["id"] == p.fault) for f in grave if not f["causes"]],
        "learned": learned(s) if s.steps > 3 else 1.0, "overhead": doctor.overhead,
        "finite": all(map(math.isfinite, s.values("loss", "value"))),
        "seconds": time.perf_counter() - begin, "steps": doctor.steps, "errors": doctor.errors, "crash": crash,
    }  # fmt: skip


def report(rows: list[dict]) -> None:
    sick, healthy = [r for r in rows if r["fault"]], [r for r in rows if not r["fault"]]
    first = sum(r["found"][:1] == [r["fault"]] for r in sick)
    recall = sum(r["fault"] in r["found"] for r in sick)
    alarms = [r for r in healthy if r["found"]]
    named = sum(len(r["found"]) for r in rows)
    over = sorted(r["overhead"] for r in healthy) or [0.0]
    print(f"programs {len(rows)}: {len(sick)} sick, {len(healthy)} healthy")
    print(f"first-named cause right  {first / max(len(sick), 1):.1%}")
    print(f"recall of the fault      {recall / max(len(sick), 1):.1%}")
    print(f"precision of all names   {recall / max(named, 1):.1%}")
    print(f"false alarms on healthy  {len(alarms) / max(len(healthy), 1):.1%}")
    broke = [r["number"] for r in healthy if not r["finite"]]
    whole = [r for r in healthy if r["finite"]]
    print(f"  without those whose own loss broke ({broke}): "
          f"{sum(bool(r['found']) for r in whole) / max(len(whole), 1):.1%}")  # fmt: skip
    print(f"overhead on healthy      median {over[len(over) // 2]:.1%}, worst {over[-1]:.1%}")
    for name in PEERS:
        hit = sum(r["fault"] in r["peers"][name] for r in sick)
        wolf = sum(bool(r["peers"][name]) for r in healthy)
        print(f"{name:24} recall {hit / max(len(sick), 1):.1%}, "
              f"false alarms {wolf / max(len(healthy), 1):.1%}")  # fmt: skip
    idle = [r["number"] for r in healthy if r["learned"] < 0.1]
    print(f"healthy programs that learned less than a tenth of the way: {idle}")
    print("confidence, findings that are no consequence of another: said, true, of how many")
    told = [(sure, right) for r in rows for _, sure, right in r["told"]]
    for low, high in ((0.5, 0.8), (0.8, 0.88), (0.88, 0.94), (0.94, 1.01)):
        inside = [(sure, right) for sure, right in told if low <= sure < high]
        if inside:
            said = sum(sure for sure, _ in inside) / len(inside)
            true = sum(right for _, right in inside) / len(inside)
            print(f"  {low:.2f} to {min(high, 1):.2f}  {said:.2f}  {true:.2f}  {len(inside)}")
    print("confusion (fault -> first name, right ones left out):")
    wrong = Counter((r["fault"] or "healthy", (r["found"] or ["nothing"])[0]) for r in rows
                    if (r["fault"] and r["found"][:1] != [r["fault"]]) or (not r["fault"] and r["found"]))  # fmt: skip
    for (truth, name), count in sorted(wrong.items()):
        print(f"  {truth:28} {name:28} {count}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=120)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--half", choices=["tuning", "observed"], default="observed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    for k in range(options.start, options.start + options.n):
        number = 2 * k + (options.half == "observed")
        rows.append(observe(number))
        if options.verbose:
            r = rows[-1]
            good = r["found"][:1] == [r["fault"]] if r["fault"] else not r["found"]
            print("ok " if good else "BAD", number, r["fault"] or "healthy:" + r["style"], r["task"], r["optimizer"],
                  "conv" if r["conv"] else "mlp", r["norm"], r["found"], r["crash"], *r["errors"],
                  f"{r['seconds']:.1f}s", flush=True)  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows))
    report(rows)


if __name__ == "__main__":
    main()
