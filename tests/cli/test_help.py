"""What a newcomer reads first: the list of commands, and what a typo is answered with."""

from __future__ import annotations

import pytest

from visus.cli import entry
from visus.cli.base import app


def told(words: list[str], capsys) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        entry.main(words)
    said = capsys.readouterr()
    return left.value.code, said.out, said.err


def test_the_list_of_commands_cuts_no_sentence_short(capsys):
    status, out, _ = told(["--help"], capsys)
    assert status == 0 and "..." not in out.split("Commands:")[1]
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        (line,) = [row for row in out.splitlines() if row.split()[:1] == [name]]
        assert line.endswith(".") and len(line) <= 80, line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'? See 'visus --help'."),
        (["predict"], "Missing argument 'run'. See 'visus predict --help'."),
        (["train", "--cure", "maybe"], "is not one of 'on', 'ask', 'off'. See 'visus train --help'."),
        (["train", "digits", "--epochs", "0"], "greater than or equal to 1. See 'visus train --help'."),
        (["tune", "--tials", "3"], "--trials). See 'visus tune --help'."),
    ],
)  # fmt: skip
def test_a_typo_is_one_line_that_names_the_help_to_read(words, said, capsys):
    status, out, err = told(words, capsys)
    assert status == 2 and out == ""
    assert err.count("\n") == 1 and err.startswith("visus: ") and err.rstrip().endswith(said), err
    assert "Value error" not in err
