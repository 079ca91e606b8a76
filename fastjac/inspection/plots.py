"""Pictures of a training: its loss from epoch to epoch, in a file by matplotlib or in a terminal by plotext."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fastjac.support import atomic

_ENDINGS = (".png", ".svg", ".pdf")
_NAMES = {"loss": "training", "val_loss": "held out"}


def check(path: str | Path | None) -> None:
    """Raise an error if no picture could be made, to be asked before training.

    Args:
        path: where it is to go; None for the terminal.

    Raises:
        ValueError: a path that does not end in .png, .svg or .pdf.
        ImportError: matplotlib, or with None for the terminal plotext, is not installed.
    """
    if path is not None and Path(path).suffix.lower() not in _ENDINGS:
        raise ValueError(f"a picture can't be written to {path}, expected a name that ends in {', '.join(_ENDINGS)}")
    try:
        if path is None:
            import plotext  # noqa: F401
        else:
            import matplotlib  # noqa: F401
    except ImportError as error:
        needed = "in the terminal needs plotext" if path is None else "needs matplotlib"
        raise ImportError(f"a picture {needed}: pip install 'fastjac[plots]'") from error


def _curves(history: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    curves = {label: history[name] for name, label in _NAMES.items() if history.get(name)}
    if not curves:
        raise ValueError("history has no losses: there is nothing to draw before the first epoch has ended")
    return curves


def save_loss(history: Mapping[str, Sequence[float]], path: str | Path, title: str = "") -> None:
    """Draw loss, and val_loss where there is one, over epochs to a .png, .svg or .pdf file.

    Args:
        history: what ``Sequential.fit`` gave.
        path: the file; what was there is replaced.
        title: the line above the picture.

    Raises:
        ValueError: another ending, or no epoch in the history.
        ImportError: matplotlib is not installed.
        OSError: the file can't be written.
    """
    check(path)
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4), layout="constrained")  # not pyplot: no window, no state left behind
    axes = figure.add_subplot()
    for label, losses in _curves(history).items():
        axes.plot(range(1, len(losses) + 1), losses, label=label, marker="." if len(losses) < 30 else "")
    axes.set(xlabel="epoch", ylabel="loss", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic.atomic_file(path) as file:
        figure.savefig(file, dpi=150, format=Path(path).suffix[1:].lower())


def terminal_loss(history: Mapping[str, Sequence[float]], width: int = 80, height: int = 20, title: str = "") -> str:
    """The same picture as text without colours.

    Args:
        history: what ``Sequential.fit`` gave.
        width, height: its size in characters.
        title: the line above the picture.

    Returns:
        Its lines in one text.

    Raises:
        ValueError: no epoch in the history.
        ImportError: plotext is not installed.
    """
    check(None)
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, height)
    for (label, losses), marker in zip(_curves(history).items(), ("hd", "·"), strict=False):
        signal = figure.signal(range(1, len(losses) + 1), losses, marker=marker).lines().label(label)
        figure.draw(signal)
    figure.legend(x=width - 12, ha="right")
    figure.title(title).label("epoch", "x").label("loss", "y")
    text = str(plotext.uncolorize(figure.build().string()))
    figure.clear()
    return "\n".join(line.rstrip() for line in text.splitlines())
