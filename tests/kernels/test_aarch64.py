"""The kernels as 64-bit ARM has them, without such a machine: their code, written by LLVM's target for it and counted.

``translated.py`` writes it. What runs there is another matter; see CONTRIBUTING.
"""

import collections
import os
import re
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest

TARGETS = ("aarch64-unknown-linux-gnu=neoverse-n1", "arm64-apple-macosx11.0.0=apple-m1")


def _has_target():
    llvm.initialize_all_targets()
    try:
        llvm.Target.from_triple("aarch64")
    except RuntimeError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _has_target(), reason="this LLVM was built without the target")


def translated(kernel, dtype, cache):
    """A kernel's assembly for each target."""
    program = Path(__file__).parents[1] / "helpers" / "translated.py"
    done = subprocess.run(
        [sys.executable, program, kernel, dtype, *TARGETS],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
        env=os.environ | {"FASTJAC_CACHE_DIR": str(cache)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    parts = re.split(r"^# (\S+=\S+)$", done.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def innermost_loops(assembly):
    """The instructions of every loop without branches inside, as (name, operands)."""
    lines = [re.split(r"//|;", line)[0].rstrip() for line in assembly.splitlines()]
    labels = {m[1]: k for k, line in enumerate(lines) if (m := re.match(r'([.\w"$]+):', line))}
    loops = []
    for k, line in enumerate(lines):
        back = re.match(r"\t(?:b\.\w+|cbn?z|tbn?z)\t(?:.*, )?([.\w$]+)$", line)
        if back and labels.get(back[1], k) < k:
            body = lines[labels[back[1]] + 1 : k + 1]
            instructions = [(*one.strip().split("\t", 1), "")[:2] for one in body if re.match(r"\t[^.]", one)]
            if not any(re.match(r"b$|b\.|cbn?z|tbn?z|ret|bl", name) for name, _ in instructions[:-1]):
                loops.append(instructions)
    return loops


def is_tile(loop):
    """Whether a loop is a tile's: it multiplies and adds, and no other arithmetic."""
    names = {name.split(".")[0] for name, _ in loop}
    return "fmla" in names and names <= {"fmla", "ldr", "ldp", "ldur", "ld1r", "add", "subs", "mov", "str", "stp", "b"}


def count(loop, *names):
    return sum(name.split(".")[0] in names for name, _ in loop)


SCALAR = re.compile(r"\b[sdh]\d+\b")


def check(assembly, lanes):
    loops = innermost_loops(assembly)
    tiles = [loop for loop in loops if is_tile(loop)]
    sizes = collections.Counter(count(loop, "fmla") for loop in tiles)
    # 8 × 3 vectors, and as it copies B; 8 × 2, as it copies B, and 16 × 1, some of them more than once, and two as one
    # where LLVM finds them to be the same; then the sizes of what remains
    assert sizes[24] >= 2 and sizes[16] >= 2, sizes
    assert {12, 8, 4, 2, 1} <= set(sizes)
    for loop in tiles:
        text = "\n".join(" ".join(one) for one in loop)
        sums = count(loop, "fmla")
        assert not re.search(r"\[sp|\bx29\b", text), f"a tile's loop uses the stack:\n{text}"
        for name, operands in loop:
            if name.startswith("fmla"):
                assert not SCALAR.search(operands), text
                width = re.search(r"\.(4s|2d)", f"{name} {operands}")
                assert width and int(width[1][0]) == lanes, text
        if sums >= 16:  # everything else together takes fewer places than the arithmetic, or few more
            assert len(loop) <= 2 * sums + 8, text
    for loop in loops:  # of activations and the like as well
        arithmetic = [one for one in loop if re.match(r"f(add|sub|mul|div|n?madd|n?msub|mla|mls|sqrt)", one[0])]
        if any("fmla" in one[0] for one in loop):
            assert not [one for one in arithmetic if re.match(r"[sd]\d+,", one[1])], loop
    return sizes


def test_the_products_multiply_and_add_in_registers(tmp_path):
    """All tiles of the forward pass in float32, on both processors."""
    found = translated("_dense_forward", "float32", tmp_path)
    assert set(found) == set(TARGETS)
    for assembly in found.values():
        check(assembly, 4)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", ["_dense_forward", "_dense_backward", "train"])
def test_all_products_multiply_and_add_in_registers(kernel, dtype, tmp_path):
    """``pytest -m slow tests/kernels/test_aarch64.py``."""
    lanes = 4 if dtype == "float32" else 2
    for target, assembly in translated(kernel, dtype, tmp_path).items():
        loops = innermost_loops(assembly)
        print(kernel, dtype, target, len(loops), "loops;", "tiles by their sums:", dict(check(assembly, lanes)))
