"""Block sizes: each fits the others, on machines with 16 and with 32 registers, whatever machine runs this."""

import subprocess
import sys

import pytest
from fastjac.kernels import blocking
from fastjac.kernels.blocking import FEW, MANY, BlockSizeError, check


@pytest.mark.parametrize("blocks", [MANY, FEW], ids=["32 registers", "16 registers"])
def test_the_sizes_fit_each_other(blocks):
    check(blocks)


@pytest.mark.parametrize(
    ("blocks", "changed", "words"),
    [
        (FEW, {"learn_rows": 64}, "16 registers: learn_rows is 64, expected a multiple of tile_rows, 6"),
        (FEW, {"learn_rows": 60}, "16 registers: learn_rows is 60, expected a multiple of the lanes, 8"),
        (MANY, {"learn_rows": 60}, "32 registers: learn_rows is 60, expected a multiple of tile_rows, 8"),
        (MANY, {"learn_rows": 0}, "learn_rows is 0"),
        (FEW, {"tile_rows": 8, "learn_rows": 64}, "a tile of 8 rows of 2 vectors takes 19"),
        (MANY, {"most_vectors": 4}, "a tile of 8 rows of 4 vectors takes 37"),
        (MANY, {"most_vectors": 1}, "most_vectors is 1, expected 2 or 3"),
        (FEW, {"tile_vectors": 1}, "tile_vectors is 1, expected 2"),
        (FEW, {"tile_rows": 3}, "tile_rows is 3, expected at least 4"),
        (MANY, {"depth_of_most": 257}, "PANEL is 12288, expected depth_of_most times a tile's columns, 12336"),
    ],
)
def test_a_size_that_does_not_fit_is_refused_by_name(blocks, changed, words):
    with pytest.raises(BlockSizeError, match=words):
        check(blocks._replace(**changed))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PADDING", 8, "PADDING is 8, expected a multiple of the lanes, 16"),
        ("ZEROS", 32, "ZEROS is 32, expected a tile row of 48"),
        ("DEPTH", 512, "expected DEPTH times"),
        ("CHUNK", 512, "expected CHUNK times"),
        ("PANEL_COLUMNS", 32, "PANEL_COLUMNS is 32, expected a tile row of 48"),
        ("LOSS_WORK", 512, "LOSS_WORK is 512, expected 576"),
        ("FLAT_ROWS", 64, "FLAT is 640, expected 1152"),
        ("DOTS", 4, "DOTS is 4, expected 8"),
        ("DOTS_DEPTH", 520, "DOTS_DEPTH is 520, expected a multiple of the lanes, 16"),
        ("DOTS_DEPTH", 2048, "PANEL is 12288, expected 16640 for dot products"),
        ("STRIP", 1000, "STRIP is 1000, expected a multiple of CHUNK, 256"),
    ],
)
def test_a_size_that_all_machines_share_is_refused_where_it_fits_no_longer(monkeypatch, name, value, words):
    monkeypatch.setattr(blocking, name, value)
    with pytest.raises(BlockSizeError, match=words):
        check(MANY)


def test_the_import_itself_refuses_a_size_of_another_machine(tmp_path):
    """An edit that breaks machines with 16 registers is found on machines with 32, and the other way round."""
    source = (blocking.__spec__.loader.get_source(blocking.__name__)).replace("learn_rows=48", "learn_rows=64")
    source = source.replace("from .", "from fastjac.kernels.")
    (tmp_path / "edited.py").write_text(source)
    result = subprocess.run([sys.executable, "edited.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "16 registers: learn_rows is 64, expected a multiple of tile_rows, 6" in result.stderr
