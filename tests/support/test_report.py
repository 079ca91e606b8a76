"""Tables."""

import sys

from fastjac.support import report

ROWS = [["relu", "1"], ["a very long name " * 20, "1,000"]]


def test_a_table_has_all_cells_and_no_colours(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    lines = report.table("Things", ["Name", "Size"], ROWS).splitlines()
    assert lines[0] == "Things"
    assert "\x1b" not in "".join(lines)
    assert all(line == line.rstrip() for line in lines)
    for row in ROWS:
        assert any(all(cell.strip() in line for cell in row) for line in lines)


def test_numbers_end_in_one_column():
    *_, first, second = report.table("", ["Name", "Size"], ROWS).splitlines()
    assert len(first) == len(second)


def test_cells_are_taken_literally():
    assert "[bold]x[/bold] :smile:" in report.table("[red]", ["[b]"], [["[bold]x[/bold] :smile:"]])


def test_without_rich_there_are_tabs(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"] + ["rich"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert report.table("T", ["a", "b"], [["1", "2"]]) == "T\na\tb\n1\t2"
