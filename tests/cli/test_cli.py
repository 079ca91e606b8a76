"""The command line, in this process and as a user's."""

import importlib
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from tests_support import write_idx_pair

import fastjac as fj
from fastjac import cli


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        cli.run(list(arguments))
    return ended.value.code, capsys.readouterr()


def test_train_digits_prints_what_the_readme_promises(capsys):
    code, shown = run(capsys, "train", "digits", "--epochs", "3", "--hidden", "32", "--no-progress")
    assert code == 0
    for word in (
        "1,438 rows to train on, 359 held out",
        "Loss",
        "Accuracy",
        "held out",
        "ms (median)",
        "samples a second",
    ):
        assert word in shown.out


def test_progress_prints_a_line_an_epoch_where_there_is_no_terminal(capsys):
    code, shown = run(capsys, "train", "digits", "--epochs", "2", "--hidden", "8")
    assert code == 0
    assert [line.split()[1] for line in shown.err.splitlines()] == ["1/2", "2/2"]


@pytest.mark.usefixtures("threads_as_asked")
def test_the_same_seed_prints_the_same_figures(capsys):
    arguments = ("train", "digits", "--epochs", "2", "--hidden", "16", "--no-progress", "--threads")
    one, two = (run(capsys, *arguments, threads)[1].out for threads in ("1", "2"))
    assert one.splitlines()[:-1] == two.splitlines()[:-1]  # the last line has the times


def test_a_network_without_hidden_layers_has_none(capsys):
    code, shown = run(capsys, "train", "digits", "--epochs", "1", "--hidden", "", "--no-progress", "--json")
    assert code == 0 and json.loads(shown.out)["parameters"] == 64 * 10 + 10


def test_train_a_folder(capsys, tmp_path):
    write_idx_pair(tmp_path)
    code, shown = run(
        capsys,
        "train",
        str(tmp_path),
        "--epochs",
        "2",
        "--hidden",
        "8,4",
        "--no-progress",
        "--dropout",
        "0.1",
        "--optimizer",
        "sgd",
        "--patience",
        "1",
        "--dtype",
        "float64",
        "--test",
        "10",
    )
    assert code == 0
    assert "10 held out" in shown.out


def test_compare_prints_the_three_paths(capsys):
    code, shown = run(capsys, "compare", "digits", "--rows", "4", "--hidden", "5")
    assert code == 0
    for path in ("fused", "unfused", "reference"):
        assert path in shown.out


def test_info_shows_and_clears_the_cache(tmp_path):
    # programs of their own: a process settles once where its cache is
    def output(*arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            env={**os.environ, "FASTJAC_CACHE_DIR": str(tmp_path / "cache")},
        ).stdout

    output("-c", "import fastjac as fj, numpy as np; fj.kernels.softmax(np.zeros((1, 2)))")
    shown = output("-m", "fastjac", "info")
    for word in (str(tmp_path / "cache"), fj.__version__, np.__version__, "1 files"):
        assert word in shown
    assert "removed 1 files" in output("-m", "fastjac", "info", "--clear-cache")
    assert not list((tmp_path / "cache").rglob("*.nbi"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "digits", "--activation", "rleu"], 2, ["rleu", "did you mean 'relu'", "gelu"]),
        (["train", "digits", "--optimizer", "adm"], 2, ["did you mean 'adam'", "sgd"]),
        (["train", "digits", "--hidden", "12,x"], 2, ["12,x", "128,64"]),
        (["train", "digits", "--hidden", "0"], 2, ["positive"]),
        (["train", "digits", "--epochs", "0"], 2, ["--epochs"]),
        (["train", "nowhere"], 2, ["nowhere", "digits"]),
        (["train"], 2, ["DATA"]),
        (["train", "digist"], 2, ["did you mean 'digits'", "folder"]),
        (["train", "digits", "--learning-rate", "nan"], 2, ["--learning-rate", "nan"]),
        (["train", "digits", "--learning-rate", "inf"], 2, ["--learning-rate", "inf"]),
        (["trian", "digits"], 2, ["trian", "did you mean 'train'", "bench, compare, evaluate, info, predict, train"]),
        (["--trian"], 2, ["--trian"]),
        (["train", "digits", "--test", "5000"], 1, ["5000", "1797"]),
        (["train", "digits", "--test", "nan"], 1, ["test is nan, expected a share below 1, or a number of rows"]),
        (["train", "digits", "--save", "net.h5"], 2, ["--save", "net.h5", ".safetensors"]),
    ],
)
def test_errors_take_one_line_and_no_traceback(capsys, arguments, code, words):
    found, shown = run(capsys, *arguments)
    assert found == code
    assert len(shown.err.strip().splitlines()) == 1
    assert shown.err.startswith("fastjac: ")
    for word in words:
        assert word in shown.err


def test_a_damaged_folder_is_one_line(capsys, tmp_path):
    code, shown = run(capsys, "train", str(tmp_path))
    assert code == 1
    assert "images-idx3-ubyte" in shown.err


def test_help_has_every_command_and_examples(capsys):
    code, shown = run(capsys, "--help")
    assert code == 0
    for word in ("train", "compare", "info", "fastjac train digits"):
        assert word in shown.out
    assert "--learning-rate" in run(capsys, "train", "--help")[1].out


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["-h"], []], ids=str)
def test_what_needs_no_library_imports_none(arguments):
    code = f"""
import sys
from fastjac.__main__ import main
sys.argv = ["fastjac", *{arguments!r}]
try:
    main()
finally:
    assert not {{"numpy", "numba", "llvmlite"}} & set(sys.modules), sorted(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == (0 if arguments else 2), done.stderr
    shown = done.stdout + done.stderr
    assert fj.__version__ in shown if arguments == ["--version"] else "Train a network and print how well" in shown


def test_the_list_of_commands_is_that_of_their_modules():
    for name, (what, module) in cli._COMMANDS.items():
        command = cli.commands.get_command(None, name)
        assert command is getattr(importlib.import_module(module), name)
        assert command is cli.commands.get_command(None, name)
        assert [option.name for option in command.params].count("debug") == 1
        assert what.endswith(".") and len(what) < 85, what  # one line of help
    assert cli.commands.get_command(None, "trian") is None


@pytest.mark.parametrize("where", ["click", "fastjac.cli", "numba"])
def test_ctrl_c_while_something_is_imported_takes_one_line(where):
    code = f"""
import sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {where!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
sys.argv = ["fastjac", "info"]
from fastjac.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "fastjac: interrupted")


def test_without_a_command_it_shows_the_help(capsys):
    code, shown = run(capsys)
    assert code == 2
    assert "fastjac train digits" in shown.err


def test_damaged_files_are_one_line(capsys, tmp_path):
    write_idx_pair(tmp_path)
    path = tmp_path / "images-idx3-ubyte.gz"
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(40) + content[140:])
    code, shown = run(capsys, "train", str(tmp_path))
    assert code == 1
    assert shown.err.startswith(f"fastjac: {path} is damaged")
    assert len(shown.err.strip().splitlines()) == 1


def program(*arguments, **options):
    """A process of its own, its output as text."""
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-m", "fastjac", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


@pytest.mark.slow  # compiles again
def test_a_folder_that_cannot_hold_the_cache_takes_one_line(tmp_path):
    (tmp_path / "file").touch()
    arguments = ("train", "digits", "--epochs", "1", "--hidden", "4", "--no-progress")
    out, err = program(*arguments, env={"FASTJAC_CACHE_DIR": str(tmp_path / "file")}).communicate(timeout=180)
    compiling, warning = err.strip().splitlines()
    assert compiling.startswith("compiling kernels")
    assert warning.startswith("fastjac: compiled kernels are not kept")
    assert "held out" in out


@pytest.mark.skipif(os.name == "nt", reason="signals are others there")
def test_ctrl_c_reports_what_was_reached():
    running = program("train", "digits", "--epochs", "1000000", "--hidden", "4")
    try:
        for line in running.stderr:  # a line an epoch
            if line.startswith("epoch 3/"):
                break
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130
    assert "held out" in out and "samples a second" in out
    assert "Traceback" not in err
    assert "interrupted" in err


def test_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "fastjac", "compare", "digits", "--rows", "2"],
        capture_output=True,
        text=True,
        env={**os.environ},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "reference" in done.stdout


def test_without_click_the_program_says_what_to_install():
    code = "import sys; sys.modules['click'] = None; sys.argv = ['fastjac']; from fastjac.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "fastjac[cli]" in done.stderr
