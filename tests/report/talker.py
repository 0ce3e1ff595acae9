"""A program with every habit of output, with or without the live view beside it.

`talker.py on|off`: prints by Python, by the file descriptor and by a child process, leaves a
line open, draws a progress bar, and writes more lines than the terminal has rows. With `halt` it is
stopped after line 30, as by Ctrl-Z.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from rich.console import Console

from visus.report.bedside import Bedside


def main(watched: bool) -> None:
    view = Bedside(Console(stderr=True), "talker.py", 60)
    view.drawn = -1e9
    with view if watched else open(os.devnull):
        for step in range(60):
            if watched:
                view.drawn = 0.0  # every line is drawn
                view({"kind": "step", "step": step, "steps": 60, "loss": 2.0 / (step + 1)})
            print(f"python {step}", flush=True)
            if step == 30 and "halt" in sys.argv:
                os.kill(os.getpid(), signal.SIGTSTP)
            if step % 10 == 3:
                os.write(1, b"descriptor %d\n" % step)
                subprocess.run(["echo", f"child {step}"], check=True)
            if step % 10 == 5:
                print("open ", end="", flush=True)
                if watched:
                    view({"kind": "step", "step": step, "steps": 60, "loss": float("nan")})
                print("closed", flush=True)
            if step % 10 == 7:
                for part in range(5):
                    sys.stderr.write(f"\rbar {part}/4")
                    sys.stderr.flush()
                    if watched:
                        view({"kind": "watching", "doing": f"looking {part}"})
                sys.stderr.write("\n")
        if watched and "finding" in sys.argv:
            view({"kind": "finding", "id": "relu-dead", "severity": "error", "where": "conv1", "first_step": 3,
                  "confidence": 0.9, "explanation": "Most units never fire.", "early": True})  # fmt: skip
    print("last line", flush=True)


if __name__ == "__main__":
    main(sys.argv[1] == "on")
