"""What Numba compiles for, by its own word and by what is public: the same."""

import os
import subprocess
import sys

import pytest
from fastjac.kernels import _target

CODE = "from fastjac.kernels import _target; print(_target.target() == _target._by_default(), _target.target())"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("NUMBA_CPU_NAME", "generic", "'generic', ''"),
        ("NUMBA_CPU_NAME", "haswell", "'haswell', '"),
        ("NUMBA_CPU_FEATURES", "+sse2", "'+sse2')"),
        ("NUMBA_ENABLE_AVX", "0", "'"),
    ],
)
def test_settings_are_read_as_numba_reads_them(name, value, expected):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120, env=inherited | {name: value}
    )
    assert done.stdout.startswith("True (") and expected in done.stdout, done
    assert name != "NUMBA_ENABLE_AVX" or "+avx" not in done.stdout


def test_without_numbas_word_the_answer_is_the_same(monkeypatch):
    from numba.core import registry

    usual = _target.target()
    monkeypatch.delattr(registry, "cpu_target")
    assert _target.target() == usual


def test_a_machine_that_llvm_does_not_know_has_no_features(monkeypatch):
    def fail():
        raise RuntimeError("unknown")

    monkeypatch.setattr(_target.config, "CPU_FEATURES", None)
    monkeypatch.setattr(_target.binding, "get_host_cpu_features", fail)
    assert _target._by_default()[2] == ""
