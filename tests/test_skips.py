"""The check that no test is skipped unseen, which .ci/run makes, on files of tests of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

CHECK = Path(__file__).resolve().parents[1] / ".ci"


def checked(folder, source, **environment):
    """Pytest with the check, on one file."""
    (folder / "test_some.py").write_text("import pytest\n\ndef test_runs():\n    pass\n\n" + textwrap.dedent(source))
    usual = {name: value for name, value in os.environ.items() if name not in ("FASTJAC_WITHOUT", "PYTEST_ADDOPTS")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "skips", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**usual, "PYTHONPATH": str(CHECK), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
    )


def test_without_skips_it_says_so(tmp_path):
    done = checked(tmp_path, "")
    assert done.returncode == 0, done.stdout
    assert "0  in all, and 0 files" in done.stdout


def test_skips_that_nobody_allowed_fail_the_run(tmp_path):
    source = """
    def test_called():
        pytest.skip("no time")

    @pytest.mark.skipif(True, reason="not today")
    def test_marked():
        pass

    @pytest.fixture
    def broken():
        pytest.skip("gone")

    def test_fixture(broken):
        pass

    def test_no_module():
        pytest.importorskip("no_such_module")

    @pytest.mark.parametrize("k", range(6))
    def test_too_many(k):
        pytest.skip("it comes with fastjac[docs]")
    """
    done = checked(tmp_path, source)
    assert done.returncode == 1, done.stdout
    refused = [line for line in done.stdout.splitlines() if line.startswith("REFUSED")]
    wanted = ["test_called: no time", "test_marked: not today", "test_fixture: gone", "no_such_module", "6 tests are"]
    assert len(refused) == len(wanted)
    for line, words in zip(refused, wanted, strict=True):
        assert words in line


def test_a_skip_with_a_name_passes_and_is_counted(tmp_path):
    source = """
    def test_a():
        pytest.skip("mkdocs comes with fastjac[docs]")

    def test_b():
        pytest.importorskip("no_such_module")

    @pytest.mark.xfail(strict=True)
    def test_c():
        raise ValueError
    """
    assert checked(tmp_path, source).returncode == 1
    done = checked(tmp_path, source, FASTJAC_WITHOUT="other no_such_module")
    assert done.returncode == 0, done.stdout
    assert "1  mkdocs comes with fastjac[docs]" in done.stdout and "2  in all, and 0 files" in done.stdout


def test_a_module_that_could_not_be_installed_excuses_no_whole_file(tmp_path):
    done = checked(tmp_path, "pytest.importorskip('no_such_module')", FASTJAC_WITHOUT="no_such_module")
    assert done.returncode == 1, done.stdout
    assert "REFUSED a file is skipped whole: test_some.py" in done.stdout


def test_a_failing_test_keeps_its_own_exit_code(tmp_path):
    done = checked(tmp_path, "def test_a():\n    assert False\n\ndef test_b():\n    pytest.skip('no time')")
    assert done.returncode == 1
    assert "1 failed" in done.stdout and "REFUSED" in done.stdout
