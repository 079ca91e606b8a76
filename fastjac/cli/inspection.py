"""``compare`` and ``info``: how a network is computed, and what it is computed with."""

from __future__ import annotations

import platform
import textwrap
from typing import TYPE_CHECKING

import click
import numpy as np

import fastjac as fj
from fastjac.cli import data as sources
from fastjac.cli import output
from fastjac.cli.options import Columns, Names, Widths, of_columns
from fastjac.kernels._jit import CacheInfo, cache_info
from fastjac.nn import activations
from fastjac.support import report

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing's own from Python 3.11 on

_SHOWN = ("sse4", "avx", "fma", "amx", "neon", "sve")  # of a hundred features, those that arithmetic is made of


def _present(features: str) -> list[str]:
    """The processor's features that LLVM lists with a plus."""
    return [one.removeprefix("+") for one in features.split(",") if one.startswith("+")]


@click.command()
@click.argument("data")
@of_columns
@click.option("--hidden", type=Widths(), default="16", show_default=True, help="Widths of the hidden layers.")
@click.option(
    "--activation",
    type=Names("activation", activations.NAMES),
    default="relu",
    show_default=True,
    help="Of the hidden layers.",
)
@click.option("--rows", type=click.IntRange(1), default=8, show_default=True, help="Rows in the batch.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the first parameters.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float64",
    show_default=True,
    help="Type of all numbers.",
)
def compare(
    data: str, hidden: list[int], activation: str, rows: int, seed: int, dtype: str, **columns: Unpack[Columns]
) -> None:
    """Compute one batch of DATA by fused kernels, by NumPy and by explicit Jacobians, and compare.

    Explicit Jacobians are large: keep rows and widths small.
    """
    source = sources.open_source(data, None, seed=seed, dtype=dtype, **columns)
    net = sources.network(
        source.preprocessing.inputs, source.preprocessing.outputs, hidden, activation, 0.0, seed, dtype
    )
    X, y = source.split.X[:rows], source.split.y[:rows]
    click.echo(f"{net!r}, {len(X)} rows of {data}")
    click.echo(str(fj.compare(net, X, y, loss=source.preprocessing.loss)))


def _cache_in_words(cache: CacheInfo) -> str:
    words = cache.folder if cache.enabled else f"off: {cache.reason}"
    if cache.enabled and cache.reason:
        words += f" (to read only: {cache.reason})"
    return words if cache.guarded else f"{words} (its owner is not checked: see that only you can write there)"


@click.command()
@click.option("--clear-cache", is_flag=True, help="Remove all compiled kernels that fastjac has kept on disk.")
@click.option("--warm-up", "warm", is_flag=True, help="Compile all kernels now, as for the image of a container.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def info(clear_cache: bool, warm: bool, as_json: bool) -> None:
    """Show versions, the CPU as the compiler sees it, and where compiled kernels are kept.

    With --warm-up, it is an error if they can't be kept.
    """
    import llvmlite
    import numba

    from fastjac.kernels._jit import clear_cache as clear
    from fastjac.kernels.simd import compiler_target, register_bytes
    from fastjac.support.cores import default_threads

    removed = clear() if clear_cache else None
    done = None
    cache = cache_info()
    if warm:
        if not cache.enabled:
            raise click.ClickException(f"compiled kernels can't be kept: {cache.reason}")
        click.echo("compiling all kernels, which takes up to a minute the first time", err=True)
        done = fj.warm_up()
        cache = done.cache
        if done.lost:
            raise click.ClickException(str(done))
    size_of_vector = register_bytes()
    processor, features = compiler_target()
    if as_json:
        output.as_json(
            {
                "fastjac": fj.__version__,
                "python": platform.python_version(),
                "numpy": np.__version__,
                "numba": numba.__version__,
                "llvmlite": llvmlite.__version__,
                "machine": platform.machine(),
                "processor": processor,
                "features": _present(features),
                "vector_bytes": size_of_vector,
                "threads": default_threads(),
                "cache": {
                    "folder": cache.folder,
                    "enabled": cache.enabled,
                    "reason": cache.reason,
                    "files": cache.files,
                    "bytes": cache.bytes,
                    "guarded": cache.guarded,
                },
                "removed": None if removed is None else {"files": removed[0], "bytes": removed[1]},
                "warmed_up": None
                if done is None
                else {"compiled": done.compiled, "loaded": done.loaded, "seconds": done.seconds},
            }
        )
        return
    if removed is not None:
        click.echo(f"removed {removed[0]} files, {removed[1] / 2**20:.1f} MiB")
    if done is not None:
        click.echo(str(done))
    extensions = ", ".join(one for one in _present(features) if one.startswith(_SHOWN))
    rows = [
        ["fastjac", fj.__version__],
        ["Python", platform.python_version()],
        ["NumPy, Numba, llvmlite", f"{np.__version__}, {numba.__version__}, {llvmlite.__version__}"],
        ["Processor", f"{platform.machine()}, {processor}"],
        ["Its extensions", textwrap.fill(extensions, 60) or "none"],
        ["Vector", f"{size_of_vector} bytes: {size_of_vector // 4} float32 or {size_of_vector // 8} float64"],
        ["Threads", str(default_threads())],
        ["Cache", _cache_in_words(cache)],
        ["Cached kernels", f"{cache.files} files, {cache.bytes / 2**20:.1f} MiB"],
    ]
    click.echo(report.table("This installation", ["What", "Value"], rows, words=True))
