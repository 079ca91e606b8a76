"""Tables for a terminal, drawn by rich; tab-separated lines where it is not installed."""

from __future__ import annotations

from collections.abc import Sequence


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], words: bool = False) -> str:
    """A titled table as text without colours, as wide as it needs to be.

    Args:
        title: the line above it.
        columns: headings; the first column is aligned left, the others right.
        rows: the cells of each row.
        words: whether the others hold words, not numbers, and are aligned left too.

    >>> table("Sizes", ["Name", "Size"], [["a", "1"]]).splitlines()[0]
    'Sizes'
    """
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return "\n".join([title, *("\t".join(row) for row in (columns, *rows))])
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, column in enumerate(columns):
        drawn.add_column(column, justify="left" if k == 0 or words else "right", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    # so wide that nothing is cut: a terminal wraps a long line, a file keeps it
    console = Console(
        width=10_000, color_system=None, force_terminal=False, force_jupyter=False, markup=False, emoji=False
    )
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join([title, *(line.rstrip() for line in captured.get().rstrip().splitlines())])
