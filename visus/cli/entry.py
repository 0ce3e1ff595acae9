"""Runs the command line: every expected failure is one line and an exit status.

Exit status: 0 done, 1 the work failed or was interrupted (one line says why and what to do), 2 wrong
usage.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from visus.cli import interrupt
from visus.cli.base import app, speaks
from visus.errors import UsageError, VisusError

PARSER_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every expected failure is one line and an exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    # What stands behind a script belongs to the script.
    own = next(
        (n for n, word in enumerate(words) if words[0] == "watch" and word.endswith(".py")),
        len(words),
    )
    debug = "--debug" in words[:own]
    sys.exit(_status([w for w in words[:own] if w != "--debug"] + words[own:], debug))


def _status(words: list[str], debug: bool) -> int:
    interrupt.hold()
    try:
        status = app(words, prog_name="visus", standalone_mode=False) or 0
        # The parser turns Ctrl-C into a status of its own and says nothing.
        return _interrupted() if status == PARSER_INTERRUPTED and interrupt.heard else status
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except VisusError as error:
        if debug:
            raise
        if isinstance(error, UsageError) and not speaks():
            return error.status  # the first rank says the same
        return _fail(str(error), error.status)
    except Exception as error:
        if hasattr(error, "format_message"):  # the parser's own errors: a typo, a missing word
            return _fail(_misused(error), 2)
        if debug:
            raise
        if interrupt.heard:  # its KeyboardInterrupt became something else on the way up
            return _interrupted()
        return _fail(
            f"{type(error).__name__}: {error}; this is a fault of visus, --debug shows where", 1
        )
    finally:
        interrupt.release()


def _misused(error: Any) -> str:
    """What the parser says, and whose help to read."""
    place = error.ctx.command_path if getattr(error, "ctx", None) else "visus"
    said = error.format_message().replace("Value error, ", "")
    return f"{said if said.endswith(('.', '?')) else said + '.'} See '{place} --help'."


def _interrupted() -> int:
    text = "interrupted; the same command goes on with what is finished, or starts again"
    return _fail(text, interrupt.STATUS)


def _fail(text: str, status: int) -> int:
    print("visus: " + " ".join(text.split()), file=sys.stderr)
    return status
