"""The command line whose output or messages nobody takes: closed, full, or a reader that has gone."""

import json
import os
import select
import subprocess
import sys

import numpy as np
import pytest

from fastjac.cli import output

pytestmark = pytest.mark.skipif(os.name == "nt", reason="streams are others there")
FULL = "/dev/full"
needs_full = pytest.mark.skipif(not os.path.exists(FULL), reason=f"there is no {FULL}")


def shell(command, folder=None):
    """A command of a shell that fails where any of its parts does, with `fastjac` for the program."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("fastjac ", f"{sys.executable} -m fastjac ")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=folder,
        env={**os.environ},
    )
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table, and a network trained on it."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    place = tmp_path_factory.mktemp("streams")
    lines = "".join(f"{k},{'ab'[k % 2]},{k % 3 / 7}\n" for k in range(60))
    (place / "table.csv").write_text("x,t,y\n" + lines)
    done = shell("fastjac train table.csv --target y --hidden 4 --epochs 2 --no-progress --save net.safetensors", place)
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.skipif(not hasattr(select, "poll"), reason="this system has no poll")
def test_training_ends_when_nobody_reads_any_more():
    # 200,000 epochs take far longer than the time limit
    done = shell("fastjac train digits --hidden 4 --epochs 200000 --no-progress | head -1")
    assert done.stdout.startswith("Sequential: ")
    assert done.returncode == 141
    assert done.stderr.splitlines()[-1] == "fastjac: ended, as nobody reads the output any more"


def test_a_network_that_is_to_be_saved_is_trained_to_the_end_though_nobody_reads(folder):
    command = "fastjac train table.csv --target y --hidden 4 --epochs 30 --no-progress --save kept.safetensors"
    done = shell(f"{command} | head -1", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "kept.safetensors").stat().st_size > 100


@pytest.mark.parametrize("command", ["train digits --hidden 4 --epochs 1 --json", "info", "--help"])
@needs_full
def test_an_output_that_is_full_is_one_line(command):
    done = shell(f"fastjac {command} --no-progress > {FULL}" if "train" in command else f"fastjac {command} > {FULL}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "fastjac: the output can't be written: No space left on device"
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("stream", ["2>&-", "2>/dev/full", "2> >(exec true)"])
@needs_full
def test_messages_that_nobody_takes_end_no_training(stream):
    done = shell(f"fastjac train digits --hidden 4 --epochs 3 --json {stream}")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["history"]["loss"]) == 3  # and no message is among the results


def test_predictions_need_an_output_that_is_open(folder):
    done = shell("fastjac predict net.safetensors table.csv >&-", folder)
    assert done.returncode == 1
    assert done.stderr == "fastjac: the standard output is closed, and --output names no file\n"
    done = shell("fastjac predict net.safetensors table.csv -o out.csv >&- && cat out.csv", folder)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 61
    done = shell("fastjac evaluate net.safetensors table.csv >&-", folder)
    assert (done.returncode, done.stderr) == (0, "")


@needs_full
def test_predictions_to_a_full_output_are_one_line(folder):
    done = shell(f"fastjac predict net.safetensors table.csv > {FULL}", folder)
    assert done.returncode == 1
    assert done.stderr == "fastjac: the output can't be written: No space left on device\n"


def test_predictions_that_nobody_reads_are_one_line(folder):
    (folder / "long.csv").write_text("x,t\n" + "1,a\n" * 50_000)
    done = shell("fastjac predict net.safetensors long.csv | head -1", folder)
    assert done.returncode == 141
    assert done.stdout == '"y"\n'
    assert done.stderr == "fastjac: ended, as nobody reads the output any more\n"


def test_a_file_that_cannot_be_written_whole_is_left_as_it_was(folder):
    """Reliability test 26 for predictions: a limit of the size of files stands for a full disk."""
    shell("fastjac predict net.safetensors table.csv -o limited.csv", folder)
    before, names = (folder / "limited.csv").read_bytes(), sorted(os.listdir(folder))
    (folder / "long.csv").write_text("x,t\n" + "1,a\n" * 50_000)
    names = sorted({*names, "long.csv"})
    for path in ("limited.csv", "new.csv", "new.parquet", "new.npy"):
        # the kernels are in their cache by now; SIGXFSZ is ignored by Python, so that it is an error of the file
        done = shell(f"ulimit -f 8; fastjac predict net.safetensors long.csv -o {path}", folder)
        if path == "new.parquet":  # small enough: every row is the same
            (folder / path).unlink()
            assert done.returncode == 0, done.stderr
            continue
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1 and path in done.stderr, done.stderr
        assert sorted(os.listdir(folder)) == names
    assert (folder / "limited.csv").read_bytes() == before


@pytest.mark.parametrize("place", ["nowhere/out.csv", ".", "pipe.csv"])
def test_a_place_that_takes_no_file_is_refused_before_anything_is_read(folder, place):
    if place == "pipe.csv" and not (folder / place).exists():
        os.mkfifo(folder / place)
    path = "folder.csv" if place == "." else place
    if place == ".":
        (folder / path).mkdir(exist_ok=True)
    done = shell(f"fastjac predict no-such-model.safetensors table.csv -o {path}", folder)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert path in done.stderr and "no-such-model" not in done.stderr


@pytest.mark.skipif(not hasattr(select, "poll"), reason="this system has no poll")
def test_whether_anybody_reads_is_known_of_pipes(monkeypatch):
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert not output.nobody_reads()
        os.close(reader)
        assert output.nobody_reads()
        monkeypatch.setattr(sys, "stdout", None)
        assert not output.nobody_reads()
        monkeypatch.undo()


@pytest.mark.skipif(not hasattr(select, "poll"), reason="this system has no poll")
def test_somebody_reads_a_file(monkeypatch, tmp_path):
    with open(tmp_path / "out", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert not output.nobody_reads()
        monkeypatch.undo()


def test_predicting_the_same_twice_gives_the_same_file(folder):
    for name in ("one.npy", "two.NPY"):
        assert shell(f"fastjac predict net.safetensors table.csv -o {name}", folder).returncode == 0
    np.testing.assert_array_equal(np.load(folder / "one.npy"), np.load(folder / "two.NPY"))
