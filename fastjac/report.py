"""Tables for a terminal, drawn by rich; tab-separated lines where it is not installed."""

from __future__ import annotations

from collections.abc import Sequence


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A titled table as text, without colours; the first columns that hold words are aligned left, numbers right.

    >>> print(table("Two", ["Name", "Size"], [["a", "1"]]).splitlines()[0].strip())
    Two
    """
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return "\n".join([title, *("\t".join(row) for row in (columns, *rows))])
    drawn = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD)
    for k, column in enumerate(columns):
        drawn.add_column(column, justify="left" if k == 0 else "right", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    console = Console(width=max(80, Console().measure(drawn).maximum), color_system=None, file=None)
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())
