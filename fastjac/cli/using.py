"""``predict`` and ``evaluate``: what a saved network says of other rows."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np

import fastjac as fj
from fastjac.cli import data as sources
from fastjac.cli import output
from fastjac.cli.options import of_decimals
from fastjac.data import tables
from fastjac.support import report


@click.command()
@click.argument("model")
@click.argument("data")
@click.option(
    "-o",
    "--output",
    "path",
    metavar="PATH",
    help="Where to write: .csv, .parquet or .npy.  [CSV to the standard output]",
)
@of_decimals
def predict(model: str, data: str, path: str | None, decimal: str | None) -> None:
    """Predict every row of DATA by the network in MODEL, which `fastjac train … --save` wrote.

    DATA is a table with the columns that the network was trained on, in any order. Written are, for classes, the most
    probable one and the probability of each; for amounts, the amount. A .npy file has the probabilities alone.
    """
    tables.check_writable(path)
    if path is None and sys.stdout is None:
        raise OSError("the standard output is closed, and --output names no file")
    net = fj.load(model)
    learnt = sources.preprocessing_of(net, model)
    table = sources.read(data, learnt, decimal, held_out=False)
    extra = learnt.extra(table)
    if extra:
        shown = ", ".join(extra[:10]) + (", …" if len(extra) > 10 else "")
        output.note(f"fastjac: not used of {data}: {shown}")
    predicted = learnt.predictions(net.predict(learnt.features(table, dtype=net.dtype)))
    if path is not None and Path(path).suffix.lower() == ".npy" and learnt.task == "classification":
        predicted.pop(learnt.target.name)
    written = tables.write(predicted, path)
    if written is not None:
        output.as_bytes(written)


@click.command()
@click.argument("model")
@click.argument("data")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@of_decimals
def evaluate(model: str, data: str, as_json: bool, decimal: str | None) -> None:
    """Print how well the network in MODEL, which `fastjac train … --save` wrote, predicts DATA.

    DATA is a table with the columns that the network was trained on and the target. Of "digits" and of a folder of IDX
    files, the rows are those that training holds out by default.
    """
    net = fj.load(model)
    learnt = sources.preprocessing_of(net, model)
    table = sources.read(data, learnt, decimal, held_out=True)
    y = learnt.targets(table)
    found = sources.scores(net, learnt, learnt.features(table, dtype=net.dtype), np.asarray(y))
    if as_json:
        output.as_json({"model": model, "data": data, "task": learnt.task, "rows": len(y)} | found)
        return
    heads = ["", "Rows", *(output.NAMES[key] for key in found)]
    click.echo(report.table(f"{model}: {net!r}", heads, [[data, f"{len(y):,}", *map(output.figure, found.values())]]))
