"""The commands as a user meets them: what they print, what they leave, how they fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visus import ledger
from visus.cli import main

TINY = [
    "--set",
    "model.width=8",
    "--set",
    "training.batch_size=64",
    "--set",
    "optimizer.rate=0.05",
    "--set",
    "training.threads=1",
]


def call(capsys, *words: str) -> tuple[int, str, str]:
    """Status, standard output and standard error of a command; a traceback fails the test."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(list(words))
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return int(left.value.code or 0), out, err


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run on the digits."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    with pytest.raises(SystemExit) as left:
        main(["train", "digits", "--out", str(folder), "--epochs", "3", *TINY])
    assert left.value.code == 0
    return folder


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder of three classes with 12 small images each."""
    draw = np.random.default_rng(0)
    for name in ("cat", "dog", "owl"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(12):
            pixels = draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{k}.png")
    return tmp_path / "photos"


def test_train_leaves_model_report_and_numbers(run):
    lines = ledger.read(run)
    kinds = {line["kind"] for line in lines}
    assert {
        "run",
        "environment",
        "recipe",
        "data",
        "split",
        "model",
        "sheet",
        "plan",
        "epoch",
        "look",
        "confusion",
        "per-class",
        "mistakes",
        "end",
    } <= kinds
    end = ledger.last(lines, "end")
    assert end is not None
    assert end["status"] == "done"
    assert end["metrics"]["test_error"] < 0.15
    assert {p.name for p in run.iterdir()} >= {
        "report.html",
        "recipe.toml",
        "split.json",
        "model.safetensors",
        "model.json",
    }


def test_json_is_one_object_and_nothing_else(capsys, tmp_path):
    status, out, err = call(
        capsys, "train", "digits", "--out", str(tmp_path / "r"), "--epochs", "1", "--json", *TINY
    )
    result = json.loads(out)
    assert status == 0
    assert set(result) >= {"metrics", "findings", "trials", "run"}
    assert 0 <= result["metrics"]["test_error"] <= 1
    assert "epoch 1" in err


def test_each_look_is_counted(capsys, run):
    before = ledger.last(ledger.read(run), "look")["number"]
    status, out, _ = call(capsys, "evaluate", str(run), "--json", "--reason", "a test", "--flip")
    found = json.loads(out)
    assert (status, found["looks"]) == (0, before + 1)
    low, high = found["test_interval"]
    assert low <= found["test_error"] <= high
    looks = ledger.select(ledger.read(run), "look")
    assert looks[-1]["reason"] == "a test"
    assert looks[-1]["error"] == found["test_error"]


def test_evaluate_on_other_images_leaves_the_vault_shut(capsys, run, tmp_path):
    for digit in ("3", "8"):
        (tmp_path / "more" / digit).mkdir(parents=True)
        for k in range(2):
            Image.new("L", (8, 8), 10 * k).save(tmp_path / "more" / digit / f"{k}.png")
    looks = len(ledger.select(ledger.read(run), "look"))
    status, out, _ = call(capsys, "evaluate", str(run), str(tmp_path / "more"), "--json")
    assert (status, json.loads(out)["test_n"]) == (0, 4)
    assert len(ledger.select(ledger.read(run), "look")) == looks


def test_predict_goes_on_past_a_broken_file(capsys, run, tmp_path):
    Image.new("L", (20, 30), 128).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("not an image")
    status, out, err = call(capsys, "predict", str(run), str(tmp_path), "--json", "--top", "2")
    rows = json.loads(out)["predictions"]
    assert status == 1
    assert [len(row.get("top", [])) for row in rows] == [2, 0]
    assert "b.png" in rows[1]["error"]
    status, out, err = call(capsys, "predict", str(run), str(tmp_path / "a.png"))
    assert (status, err) == (0, "")
    assert out.startswith(str(tmp_path / "a.png") + ":")


def test_predict_answers_a_folder_without_files(capsys, run, tmp_path):
    """Silence and status 0 would look like success."""
    (tmp_path / "none" / ".hidden").mkdir(parents=True)
    status, out, err = call(capsys, "predict", str(run), str(tmp_path / "none"))
    assert (status, out) == (1, "") and "no file in this folder" in err


def test_masks_of_one_name_do_not_overwrite_each_other(tmp_path):
    from torch import tensor, uint8

    from visus.api.use import Masks
    from visus.errors import RunError

    masks = Masks(tmp_path / "masks")
    places = [
        masks.keep(f"{part}/1.jpg", tensor([[n]], dtype=uint8)) for n, part in enumerate("ab")
    ]
    assert [Path(p).name for p in places] == ["1.png", "1-2.png"]
    assert [Image.open(p).getpixel((0, 0)) for p in places] == [0, 1]
    with pytest.raises(RunError, match="another --masks"):
        Masks(Path(places[0]) / "inside")  # a file is no folder


def test_predict_reads_names_from_standard_input(run, tmp_path):
    Image.new("L", (8, 8), 128).save(tmp_path / "a.png")
    words = [sys.executable, "-m", "visus.cli", "predict", str(run), "-"]
    done = subprocess.run(
        words, input=f"{tmp_path}/a.png\n", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.count("a.png")) == (0, 1), done.stderr


def test_export_is_checked_against_the_model(capsys, run, tmp_path):
    import onnx

    status, out, _ = call(capsys, "export", str(run), "--onnx", str(tmp_path / "m.onnx"), "--json")
    result = json.loads(out)
    assert status == 0
    assert result["difference"] < 1e-4
    model = onnx.load(tmp_path / "m.onnx")
    assert {p.key: p.value for p in model.metadata_props}["classes"].split("\n") == list(
        "0123456789"
    )


def test_inspect_counts_and_names_what_is_broken(capsys, photos):
    (photos / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    status, out, _ = call(capsys, "inspect", str(photos), "--json", "--set", "data.max_bad=0.1")
    facts = json.loads(out)
    assert status == 0
    assert facts["bad"][0]["name"].endswith("broken.jpg")
    assert sum(sum(counts.values()) for counts in facts["counts"].values()) == 36
    assert call(capsys, "inspect", str(photos), "--set", "data.max_bad=0.1")[0] == 0


def test_report_is_written_again(capsys, run):
    (run / "report.html").unlink()
    status, out, _ = call(capsys, "report", str(run))
    assert (status, out.strip()) == (0, str(run / "report.html"))
    assert (run / "report.html").stat().st_size > 10_000


def one_image(photos: Path) -> str:
    for path in sorted((photos / "owl").iterdir())[1:]:
        path.unlink()
    return str(photos)


def empty(photos: Path) -> str:
    (photos / "none").mkdir()
    return str(photos / "none")


FAILURES = [
    (["trian"], 2, "Did you mean 'train'"),
    (["train"], 2, "no data"),
    (["train", "digits", "--epoch", "3"], 2, "--epochs"),
    (["train", "digits", "--set", "optimizer.rat=1"], 2, "rate"),
    (["train", "digits", "--set", "optimizer.rate=fast"], 2, "optimizer.rate"),
    (["train", "digits", "--time-limit", "soon"], 2, "time_limit"),
    (["train", "PHOTOS/../photoss"], 2, "photos"),
    (["train", empty], 1, "none"),
    (["train", one_image], 1, "class 'owl' has 1 image"),
    (["train", "PHOTOS/cat/0.png"], None, "0.png"),
    (["train", "PHOTOS", "--recipe", "PHOTOS/no.toml"], 2, "no.toml"),
    (["train", "digits", "--out", "PHOTOS"], 1, "holds no run"),
    (["train", "--resume", "PHOTOS"], 1, "holds no run"),
    (["evaluate", "PHOTOS"], 1, "holds no run"),
    (["evaluate", "PHOTOS/../photoss"], 2, "did you mean"),
    (["predict", "PHOTOS/../photoss", "x.png"], 2, "did you mean"),
    (["report", "no/such"], 2, "run: no folder no/such; give a folder"),
    (["export", "nowhere", "--onnx", "m.onnx"], 2, "run: no folder nowhere"),
    (["train", "--resume", "nowhere"], 2, "run: no folder nowhere"),
    (["predict", "PHOTOS", "x.png"], 1, "no model"),
    (["report", "PHOTOS"], 1, "no ledger"),
    (["export", "RUN", "--onnx", "PHOTOS/no/m.onnx"], 2, "no folder"),
    (["evaluate", "RUN", "PHOTOS"], 1, "unknown to the model"),
    (["train", "--resume", "RUN"], 1, "is finished"),
    (["train", "digits", "--out", "RUN"], 1, "finished run"),
    (["explain", "relu-ded"], 2, "relu-dead"),
    (["watch", "PHOTOS/no.py"], 2, "no.py"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "status", "said"), FAILURES, ids=lambda v: v if isinstance(v, str) else None
)
def test_failures_are_one_line_that_says_what_to_do(
    capsys, run, photos, monkeypatch, words, status, said
):
    monkeypatch.chdir(photos.parent)
    words = [
        w(photos) if callable(w) else w.replace("PHOTOS", str(photos)).replace("RUN", str(run))
        for w in words
    ]
    got, _, err = call(capsys, *words)
    assert got == status if status is not None else got in (1, 2), err
    line = [row for row in err.splitlines() if row.startswith("visus: ")]
    assert len(line) == 1, err
    assert said in line[0]


def test_a_wrong_path_leaves_no_run_behind(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "train", "nowhere/")[0] == 2
    assert list(tmp_path.rglob("*.jsonl")) == []


def test_bare_visus_shows_the_help(capsys):
    status, out, _ = call(capsys)
    assert (status, "Commands" in out) == (0, True)
    assert call(capsys, "--version")[1].startswith("visus ")


def start(folder: Path, *words: str, **options) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "visus.cli",
        "train",
        "digits",
        "--out",
        str(folder),
        "--epochs",
        "40",
        *TINY,
        *words,
    ]
    # A shell's background job would ignore SIGINT: the child takes the default back.
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler), **options)  # fmt: skip


def wait_for(folder: Path, kind: str) -> None:
    for _ in range(600):
        if (folder / ledger.NAME).exists() and ledger.last(ledger.read(folder), kind):
            return
        time.sleep(0.05)
    raise AssertionError(f"no {kind} line within 30 s")


def test_ctrl_c_leaves_a_run_to_go_on_with(capsys, tmp_path):
    child = start(tmp_path / "r")
    wait_for(tmp_path / "r", "epoch")
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 1, err
    assert "Traceback" not in out + err
    assert f"--resume {tmp_path / 'r'}" in (out + err).replace("\n", " ")
    end = ledger.last(ledger.read(tmp_path / "r"), "end")
    assert end is not None and end["status"] == "stopped"
    assert not ledger.select(ledger.read(tmp_path / "r"), "look")
    status, _, err = call(capsys, "train", "--resume", str(tmp_path / "r"))
    assert status == 0, err
    assert {line["number"] for line in ledger.select(ledger.read(tmp_path / "r"), "look")} == {1}


def test_a_full_disk_is_one_line(tmp_path):
    import resource

    def small() -> None:  # files of at most 100 kB: the checkpoint does not fit
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [
        sys.executable,
        "-m",
        "visus.cli",
        "train",
        "digits",
        "--out",
        str(tmp_path / "r"),
        "--epochs",
        "2",
        "--set",
        "model.width=64",
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=small,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    line = [row for row in done.stderr.splitlines() if row.startswith("visus: ")]
    assert len(line) == 1 and "cannot write" in line[0], done.stderr
