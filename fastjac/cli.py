"""The command line: train, compare, info."""

from __future__ import annotations

import platform
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import click
import numpy as np

import fastjac as fj
from fastjac import activations, datasets, optimizers, report
from fastjac.datasets import Split
from fastjac.kernels._jit import cache_info
from fastjac.kernels.arrays import unknown

_EXAMPLES = """
\b
Examples:
  fastjac train digits
  fastjac train digits --hidden 64 --activation tanh --epochs 50
  fastjac train path/to/mnist --hidden 128
  fastjac compare digits
  fastjac info
"""


class _Names(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A name out of a list; others are refused with the list and the nearest entry."""

    name = "name"

    def __init__(self, kind: str, known: Any) -> None:
        self.kind, self.known = kind, list(known)

    def convert(self, value: Any, parameter: Any, context: Any) -> str:
        if value not in self.known:
            self.fail(str(unknown(self.kind, value, self.known)), parameter, context)
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "NAME"


class _Widths(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Widths of hidden layers, as 128,64."""

    name = "widths"

    def convert(self, value: Any, parameter: Any, context: Any) -> list[int]:
        if isinstance(value, list):
            return value
        try:
            widths = [int(word) for word in str(value).split(",") if word.strip()]
        except ValueError:
            widths = [0]
        if any(width < 1 for width in widths):
            self.fail(f"{value!r} is not a list of positive whole numbers, such as 128,64", parameter, context)
        return widths

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "N,N,…"


class _Commands(click.Group):
    """Commands; an unknown one is refused as every unknown name is."""

    def resolve_command(self, context: click.Context, arguments: list[str]) -> Any:
        if self.get_command(context, arguments[0]) is None and not arguments[0].startswith("-"):
            context.fail(str(unknown("command", arguments[0], self.list_commands(context))))
        return super().resolve_command(context, arguments)


@click.group(cls=_Commands, epilog=_EXAMPLES, invoke_without_command=True,
             context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})  # fmt: skip
@click.version_option(fj.__version__, prog_name="fastjac")
@click.pass_context
def commands(context: click.Context) -> None:
    """Train small neural networks fast on a CPU, and see how backpropagation works."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


def _load(data: str, test: float | None) -> Split:
    if data == "digits":
        return datasets.split(*datasets.digits(), 0.2 if test is None else test, seed=0)
    if not Path(data).exists():
        raise click.BadParameter(
            f"{unknown('data set', data, ['digits'])} A folder of IDX files will do, too.", param_hint="DATA"
        )
    return datasets.idx_folder(data, test)


def _network(split: Split, hidden: list[int], activation: str, dropout: float, seed: int, dtype: str) -> fj.Sequential:
    layers: list[fj.Layer] = []
    width = split.X.shape[1]
    for size in hidden:
        layers.append(fj.Dense(width, size, activation=activation))
        if dropout:
            layers.append(fj.Dropout(dropout))
        width = size
    classes = int(max(split.y.max(), split.y_test.max())) + 1
    return fj.Sequential([*layers, fj.Dense(width, classes)], seed=seed, dtype=dtype)


def _ready(split: Split, net: fj.Sequential, loss: str) -> float:
    """Compile or load every kernel that training needs, by training a small network; the seconds it took."""
    begin = time.perf_counter()
    cache = cache_info()
    if not Path(cache.folder, cache.version).is_dir():
        click.echo("compiling kernels, which takes some seconds the first time", err=True)
    small = fj.Sequential([fj.Dense(split.X.shape[1], net.outputs)], seed=0, dtype=net.dtype)
    one = split.X[:1], split.y[:1]
    if small.fit(*one, loss=loss, epochs=1, validation_data=one, progress=False).interrupted:
        raise KeyboardInterrupt
    return time.perf_counter() - begin


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"


@commands.command(short_help="Train a classifier and print how well it does.")
@click.argument("data")
@click.option("--hidden", type=_Widths(), help="Widths of the hidden layers.  [digits: 128,64; IDX files: 128]")
@click.option("--activation", type=_Names("activation", activations.NAMES), default="relu", show_default=True,
              help="Of the hidden layers: " + ", ".join(activations.NAMES) + ".")  # fmt: skip
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True,
              help="Share of hidden values dropped while training.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), help="Passes over the data.  [digits: 30; IDX files: 20]")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Rows a step.")
@click.option("--optimizer", type=_Names("optimizer", optimizers.BY_NAME), default="adam", show_default=True,
              help="One of " + ", ".join(optimizers.BY_NAME) + ".")  # fmt: skip
@click.option("--learning-rate", type=click.FloatRange(0), default=1e-3, show_default=True, help="Size of a step.")
@click.option("--patience", type=click.IntRange(0), help="Stop after this many epochs without a lower held-out loss,"
              " and go back to the best.")  # fmt: skip
@click.option("--test", type=click.FloatRange(0, min_open=True), help="Rows to hold out: a share below 1, or a number."
              "  [0.2, or the files' own split]")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Repeats a run to the bit.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True,
              help="Type of all numbers.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="Threads to use.  [as many as pay]")
@click.option("--progress/--no-progress", default=True, help="Show a progress bar, or a line an epoch in a file.")
def train(
    data: str, hidden: list[int] | None, activation: str, dropout: float, epochs: int | None, batch_size: int,
    optimizer: str, learning_rate: float, patience: int | None, test: float | None, seed: int, dtype: str,
    threads: int | None, progress: bool,
) -> None:  # fmt: skip
    """Train a classifier on DATA and print how well it does on rows it has not seen.

    DATA is "digits" (1,797 real 8×8 images that come with fastjac) or a folder of IDX files such as MNIST's.
    """
    try:
        chosen = optimizers.BY_NAME[optimizer](learning_rate=learning_rate)
    except ValueError as error:  # click's range lets nan and infinity pass
        raise click.BadParameter(str(error), param_hint="--learning-rate") from error
    split = _load(data, test)
    is_digits = data == "digits"
    net = _network(split, hidden or ([128, 64] if is_digits else [128]), activation, dropout, seed, dtype)
    net.summary()
    click.echo(f"\n{len(split.X):,} rows to train on, {len(split.X_test):,} held out")
    loss = "softmax_cross_entropy"
    callbacks = [] if patience is None else [fj.EarlyStopping(patience=patience)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an interruption is reported below
        begin = time.perf_counter()
        ready = _ready(split, net, loss)
        history = net.fit(
            split.X, split.y, loss=loss, optimizer=chosen,
            epochs=epochs or (30 if is_digits else 20), batch_size=batch_size,
            validation_data=(split.X_test, split.y_test), callbacks=callbacks, threads=threads, progress=progress,
        )  # fmt: skip
    whole = time.perf_counter() - begin
    rows = []
    for name, X, y in (("train", split.X, split.y), ("held out", split.X_test, split.y_test)):
        scores = net.evaluate(X, y, loss=loss)
        rows.append([name, f"{len(X):,}", f"{scores['loss']:.4f}", f"{scores['accuracy']:.4f}"])
    click.echo("\n" + report.table(f"{data}, {net!r}", ["", "Rows", "Loss", "Accuracy"], rows))
    if history.get("seconds"):
        seconds = float(np.median(history["seconds"]))
        done = len(history["seconds"])
        click.echo(
            f"\n{done} {'epochs' if done > 1 else 'epoch'} of {_duration(seconds)} (median),"
            f" {len(split.X) / seconds:,.0f} samples a second; {_duration(whole)} in all,"
            f" {_duration(ready)} of them to compile or load the kernels"
        )
    if history.interrupted:
        click.echo("interrupted; the figures are of the network as it was then", err=True)
        sys.exit(130)


@commands.command(short_help="Compute one batch by kernels, by NumPy and by Jacobians.")
@click.argument("data")
@click.option("--hidden", type=_Widths(), default="16", show_default=True, help="Widths of the hidden layers.")
@click.option("--activation", type=_Names("activation", activations.NAMES), default="relu", show_default=True,
              help="Of the hidden layers.")  # fmt: skip
@click.option("--rows", type=click.IntRange(1), default=8, show_default=True, help="Rows in the batch.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the first parameters.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float64", show_default=True,
              help="Type of all numbers.")  # fmt: skip
def compare(data: str, hidden: list[int], activation: str, rows: int, seed: int, dtype: str) -> None:
    """Compute one batch of DATA by fused kernels, by NumPy and by explicit Jacobians, and compare.

    Explicit Jacobians are large: keep rows and widths small.
    """
    split = _load(data, None)
    net = _network(split, hidden, activation, 0.0, seed, dtype)
    click.echo(f"{net!r}, {min(rows, len(split.X))} rows of {data}")
    click.echo(str(fj.compare(net, split.X[:rows], split.y[:rows], loss="softmax_cross_entropy")))


@commands.command(short_help="Show versions, the CPU and the cache of kernels.")
@click.option("--clear-cache", is_flag=True, help="Remove all compiled kernels that fastjac has kept on disk.")
def info(clear_cache: bool) -> None:
    """Show versions, the CPU as the compiler sees it, and where compiled kernels are kept."""
    import llvmlite
    import numba

    from fastjac.kernels._jit import clear_cache as clear
    from fastjac.kernels.simd import compiler_target, register_bytes
    from fastjac.program import default_threads

    if clear_cache:
        count, size = clear()
        click.echo(f"removed {count} files, {size / 2**20:.1f} MiB")
    cache = cache_info()
    size_of_vector = register_bytes()
    processor, _ = compiler_target()
    rows = [
        ["fastjac", fj.__version__],
        ["Python", platform.python_version()],
        ["NumPy, Numba, llvmlite", f"{np.__version__}, {numba.__version__}, {llvmlite.__version__}"],
        ["Processor", f"{platform.machine()}, {processor}"],
        ["Vector", f"{size_of_vector} bytes: {size_of_vector // 4} float32 or {size_of_vector // 8} float64"],
        ["Threads", str(default_threads())],
        ["Cache", cache.folder if cache.enabled else f"off: {cache.reason}"],
        ["Cached kernels", f"{cache.files} files, {cache.bytes / 2**20:.1f} MiB"],
    ]
    click.echo(report.table("This installation", ["What", "Value"], rows))


def _show_warning(message: Any, *rest: Any) -> None:
    click.echo(f"fastjac: {' '.join(str(message).split())}", err=True)


def run(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C. Errors take one line."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            code = commands.main(args=arguments, prog_name="fastjac", standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"fastjac: {' '.join(error.format_message().split())}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("fastjac: interrupted", err=True)
        sys.exit(130)
    except (OSError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        click.echo(f"fastjac: {' '.join(str(error).split())}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
