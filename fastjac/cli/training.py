"""``train``: from data to a trained network in a file, with everything that must go with it."""

from __future__ import annotations

import shutil
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

import fastjac as fj
from fastjac.cli import data as sources
from fastjac.cli import output
from fastjac.cli.options import Columns, Names, Widths, of_columns
from fastjac.data.columns import MISSING_WORDS
from fastjac.data.features import TASKS, Classes
from fastjac.files import container
from fastjac.inspection import plots
from fastjac.kernels._jit import cache_info
from fastjac.nn import activations, optimizers
from fastjac.support import atomic, report
from fastjac.training.callbacks import CallbackLike
from fastjac.training.progress import compiling

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing's own from Python 3.11 on


def _ready(source: sources.Source, net: fj.Sequential, progress: bool) -> float:
    """Compile or load every kernel that training needs, by training a small network; the seconds it took."""
    begin = time.perf_counter()
    cache = cache_info()
    if not Path(cache.folder, cache.version).is_dir():
        output.note("compiling kernels, which takes some seconds the first time")
    small = fj.Sequential([fj.Dense(net.inputs, net.outputs)], seed=0, dtype=net.dtype, products=net.products)
    one = source.split.X[:1], source.split.y[:1]
    loss = source.preprocessing.loss
    with compiling("auto" if progress else False):
        if small.fit(*one, loss=loss, epochs=1, validation_data=one, progress=False).interrupted:
            raise KeyboardInterrupt
    return time.perf_counter() - begin


def _optimizer(name: str, learning_rate: float) -> optimizers.Optimizer:
    try:
        return optimizers.BY_NAME[name](learning_rate=learning_rate)
    except ValueError as error:  # click's range lets nan and infinity pass
        raise click.BadParameter(str(error), param_hint="--learning-rate") from error


def _check_paths(save: str | None, plot: str | None) -> None:
    """What would fail after training fails before."""
    if plot is not None:
        plots.check(None if plot == "-" else plot)
    if save is not None:
        if find_spec("safetensors") is None:
            raise ImportError("--save needs safetensors: pip install 'fastjac[files]'")
        try:
            container.check_ending(save)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--save") from error
    for path in (save, None if plot == "-" else plot):
        if path is not None:
            atomic.destination(path)


@click.command()
@click.argument("data")
@of_columns
@click.option(
    "--hidden", type=Widths(), help="Widths of the hidden layers.  [digits: 128,64; IDX files: 128; tables: 64]"
)
@click.option(
    "--activation",
    type=Names("activation", activations.NAMES),
    default="relu",
    show_default=True,
    help="Of the hidden layers: " + ", ".join(activations.NAMES) + ".",
)
@click.option(
    "--dropout",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of hidden values dropped while training.",
)
@click.option("--epochs", type=click.IntRange(1), help="Passes over the data.  [digits: 30; IDX files: 20; tables: 50]")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Rows a step.")
@click.option(
    "--optimizer",
    type=Names("optimizer", optimizers.BY_NAME),
    default="adam",
    show_default=True,
    help="One of " + ", ".join(optimizers.BY_NAME) + ".",
)
@click.option("--learning-rate", type=click.FloatRange(0), default=1e-3, show_default=True, help="Size of a step.")
@click.option(
    "--patience",
    type=click.IntRange(0),
    help="Stop after this many epochs without a lower held-out loss, and go back to the best.",
)
@click.option(
    "--test",
    type=click.FloatRange(0, min_open=True),
    help="Rows to hold out: a share below 1, or a number.  [0.2, or the files' own split]",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Repeats a run to the bit.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
    help="Type of all numbers.",
)
@click.option(
    "--products",
    type=click.Choice(["bfloat16"]),
    help="Round the operands of matrix products: faster for wide layers, where the processor can.  [they are exact]",
)
@click.option("--threads", type=click.IntRange(1), help="Threads to use at most.  [as many as pay]")
@click.option("--progress/--no-progress", default=True, help="Show a progress bar, or a line an epoch in a file.")
@click.option("--save", metavar="PATH", help="Write the network here, with what was learnt of the table's columns.")
@click.option("--plot", metavar="PATH", help="Draw the loss of each epoch: .png, .svg or .pdf, or - for the terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def train(
    data: str,
    hidden: list[int] | None,
    activation: str,
    dropout: float,
    epochs: int | None,
    batch_size: int,
    optimizer: str,
    learning_rate: float,
    patience: int | None,
    test: float | None,
    seed: int,
    dtype: str,
    products: str | None,
    threads: int | None,
    progress: bool,
    save: str | None,
    plot: str | None,
    as_json: bool,
    **columns: Unpack[Columns],
) -> None:
    """Train a network on DATA and print how well it does on rows it has not seen.

    DATA is a table, of which --target is the column to predict (.csv, .tsv, .parquet, .npy, .npz); "digits" (1,797 real
    8×8 images that come with fastjac); or a folder of IDX files such as MNIST's.
    """
    chosen = _optimizer(optimizer, learning_rate)
    _check_paths(save, plot)
    source = sources.open_source(data, test, seed=seed, dtype=dtype, **columns)
    split, learnt = source.split, source.preprocessing
    widths = source.hidden if hidden is None else hidden
    net = sources.network(learnt.inputs, learnt.outputs, widths, activation, dropout, seed, dtype, products)
    kept = save is not None or plot not in (None, "-")  # something is, whoever reads what is printed
    if not as_json:
        with output.needed(not kept):
            net.summary()
            if sources.is_table(data):
                click.echo(f"\n{_described(learnt, columns['task'])}")
            click.echo(f"\n{len(split.X):,} rows to train on, {len(split.X_test):,} held out")
    _say_what_is_text(learnt)
    callbacks: list[CallbackLike] = [] if patience is None else [fj.EarlyStopping(patience=patience)]
    if not kept:
        callbacks.append(_end_where_nobody_reads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an interruption is reported below
        begin = time.perf_counter()
        ready = _ready(source, net, progress)
        history = net.fit(
            split.X,
            split.y,
            loss=learnt.loss,
            optimizer=chosen,
            epochs=epochs or source.epochs,
            batch_size=batch_size,
            validation_data=(split.X_test, split.y_test),
            callbacks=callbacks,
            threads=threads,
            progress=progress,
        )
    whole = time.perf_counter() - begin
    parts = {
        "train": (len(split.X), sources.scores(net, learnt, split.X, split.y)),
        "held out": (len(split.X_test), sources.scores(net, learnt, split.X_test, split.y_test)),
    }
    if save is not None:
        net.preprocessing = learnt.to_json()
        net.save(save)
    with output.needed(not kept):
        if plot is not None and history.get("loss"):
            _draw(history, plot, data, as_json)
        if as_json:
            output.as_json(
                {
                    "data": data,
                    "network": repr(net),
                    "parameters": net.parameters.size,
                    "task": learnt.task,
                    "target": learnt.target.name,
                    "classes": getattr(learnt.target, "classes", None),
                    **{name.replace(" ", "_"): {"rows": rows} | found for name, (rows, found) in parts.items()},
                    "history": history,
                    "seconds": whole,
                    "seconds_compiling_or_loading": ready,
                    "saved": save,
                    "interrupted": history.interrupted,
                }
            )
        else:
            columns_shown = list(parts["train"][1])
            rows = [
                [name, f"{count:,}", *(output.figure(found[key]) for key in columns_shown)]
                for name, (count, found) in parts.items()
            ]
            heads = ["", "Rows", *(output.NAMES[key] for key in columns_shown)]
            click.echo("\n" + report.table(f"{data}, {net!r}", heads, rows))
            _say_times(history, len(split.X), whole, ready)
            if save is not None:
                click.echo(f"\nsaved to {save}")
    if history.interrupted:
        output.note("interrupted; the figures are of the network as it was then")
        sys.exit(130)


def _end_where_nobody_reads(epoch: int, logs: dict[str, float]) -> None:
    if output.nobody_reads():
        raise output.NobodyReads


def _say_what_is_text(learnt: fj.Preprocessing) -> None:
    """Words that are missing values beside numbers, among the categories of texts."""
    for column in learnt.columns:
        found = [one for one in getattr(column, "categories", ()) if one in MISSING_WORDS]
        if found:
            output.note(
                f"fastjac: column {column.name!r} has the text {found[0]!r}, which is a category as others are;"
                f" --na {found[0]} makes it a missing value"
            )


def _described(learnt: fj.Preprocessing, task: str | None) -> str:
    """In words, what became of the columns."""
    target = learnt.target
    what = f"{learnt.task} of {target.name!r}"
    if isinstance(target, Classes):
        shown = ", ".join(map(str, target.classes[:10])) + (", …" if len(target.classes) > 10 else "")
        what += f", {len(target.classes)} classes: {shown}"
    if task is None and not isinstance(getattr(target, "classes", (0,))[0], str | bool):
        what += f" (--task {next(one for one in TASKS if one != learnt.task)} would be the other)"
    count = len(learnt.columns)
    return f"{what}\n{count} {'column' if count == 1 else 'columns'} as {learnt.inputs} inputs"


def _draw(history: fj.History, plot: str, data: str, as_json: bool) -> None:
    if plot == "-":
        width, height = shutil.get_terminal_size()
        picture = plots.terminal_loss(history, min(width, 100), min(height - 4, 20), data)
        click.echo(f"\n{picture}", err=as_json)
    else:
        plots.save_loss(history, plot, data)


def _say_times(history: fj.History, rows: int, whole: float, ready: float) -> None:
    if history.get("seconds"):
        seconds = float(np.median(history["seconds"]))
        done = len(history["seconds"])
        click.echo(
            f"\n{done} {'epochs' if done > 1 else 'epoch'} of {output.duration(seconds)} (median),"
            f" {rows / seconds:,.0f} samples a second; {output.duration(whole)} in all,"
            f" {output.duration(ready)} of them to compile or load the kernels"
        )
