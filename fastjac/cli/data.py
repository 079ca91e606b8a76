"""What the commands take for DATA: the digits, folders of IDX files, and tables in files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

import fastjac as fj
from fastjac.cli.options import Columns
from fastjac.data import datasets, tables
from fastjac.data.columns import Table, from_values, length
from fastjac.data.datasets import Split
from fastjac.kernels.arrays import unknown

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing's own from Python 3.11 on

_LABEL = "label"  # the column of classes, where the data has no names


@dataclass
class Source:
    """Rows to train on and rows held out, and how they came to be arrays."""

    split: Split
    preprocessing: fj.Preprocessing
    hidden: list[int]  # widths to begin with
    epochs: int


def is_table(data: str) -> bool:
    """Whether DATA is a file; refuses what is nothing."""
    if data != "digits" and not Path(data).exists():
        if Path(data).suffix or len(Path(data).parts) > 1:
            raise click.BadParameter(f"there is no file or folder {data!r}", param_hint="DATA")
        raise click.BadParameter(
            f"{unknown('data set', data, ['digits'])} A folder of IDX files will do, too, or a file: CSV, Parquet, NPY"
            " or NPZ.",
            param_hint="DATA",
        )
    return data != "digits" and not Path(data).is_dir()


def images(data: str, test: float | None) -> Split:
    """The digits, or a folder of IDX files."""
    if data == "digits":
        return datasets.split(*datasets.digits(), 0.2 if test is None else test, seed=0)
    return datasets.idx_folder(data, test)


def open_source(data: str, test: float | None, *, seed: int, dtype: str, **options: Unpack[Columns]) -> Source:
    """DATA in arrays; the options are for tables."""
    if is_table(data):
        return _learn(data, options, test, seed, dtype)
    for name, value in {"target": options["target"], **options}.items():
        if value:
            raise click.UsageError(f"--{name} is for tables, and {data} is images")
    return _load(data, test)


def _load(data: str, test: float | None) -> Source:
    """Images, as they are."""
    split = images(data, test)
    classes = list(range(int(max(split.y.max(), split.y_test.max())) + 1))
    learnt = fj.Preprocessing.of_arrays(split.X.shape[1], classes, _LABEL)
    return Source(split, learnt, *(([128, 64], 30) if data == "digits" else ([128], 20)))


def _learn(data: str, options: Columns, test: float | None, seed: int, dtype: str) -> Source:
    """A table, its columns learnt from the rows to train on."""
    target, index, categorical = options["target"], options["index"], options["categorical"]
    if Path(data).suffix.lower() not in (".parquet", ".pq") and set(index) - {""}:
        raise click.UsageError(
            f"--index is for what pandas wrote as an index, and {data} has none by a name: in a CSV"
            " file it is a first column without one, --index '\"\"'"
        )
    # whoever names a column asks for it
    asked = [*index, *categorical, *options["drop"], *([] if target is None else [target])]
    table = tables.read(data, text=categorical, na=options["na"], decimal=options["decimal"] or ".", index=asked)
    if target is None:
        names = ", ".join(list(table)[:20]) + (", …" if len(table) > 20 else "")
        raise click.UsageError(f"--target is needed, the column of {data} to predict: {names}")
    for name in index:
        if name not in table:
            raise unknown("column", name, list(table))
    rows = np.arange(length(table))
    chosen = datasets.split(rows, rows, 0.2 if test is None else test, seed=seed)
    learnt = fj.Preprocessing.learn(
        table,
        target,
        task=options["task"],
        impute=options["impute"],
        categorical=categorical,
        drop=options["drop"],
        na=options["na"],
        rows=chosen.X,
    )
    X, y = learnt.features(table, dtype=dtype), learnt.targets(table)
    return Source(Split(X[chosen.X], y[chosen.X], X[chosen.X_test], y[chosen.X_test]), learnt, [64], 50)


def read(data: str, learnt: fj.Preprocessing, decimal: str | None, *, held_out: bool) -> Table:
    """The table in DATA, for a network that was trained already: of images, all or those held out of training."""
    if is_table(data):
        names = [learnt.target.name, *(column.name for column in learnt.columns)]
        return tables.read(
            data,
            text=learnt.text_columns,
            verbatim=learnt.verbatim_columns,
            na=learnt.na,
            decimal=decimal or ".",
            index=names,
        )
    if decimal:
        raise click.UsageError(f"--decimal is for tables, and {data} is images")
    split = images(data, None)
    X, y = (split.X_test, split.y_test) if held_out else datasets.digits() if data == "digits" else _all(split)
    return tables.from_array(X) | {_LABEL: from_values(_LABEL, y)}


def _all(split: Split) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([split.X, split.X_test]), np.concatenate([split.y, split.y_test])


def network(
    inputs: int,
    outputs: int,
    hidden: list[int],
    activation: str,
    dropout: float,
    seed: int,
    dtype: str,
    products: str | None = None,
) -> fj.Sequential:
    """A network of dense layers."""
    layers: list[fj.Layer] = []
    width = inputs
    for size in hidden:
        layers.append(fj.Dense(width, size, activation=activation))
        if dropout:
            layers.append(fj.Dropout(dropout))
        width = size
    return fj.Sequential([*layers, fj.Dense(width, outputs)], seed=seed, dtype=dtype, products=products)


def scores(net: fj.Sequential, learnt: fj.Preprocessing, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Loss, and accuracy, or root mean squared error and R² in the target's own units."""
    result = net.evaluate(X, y, loss=learnt.loss)
    if learnt.task == "regression":
        result |= learnt.errors(net.predict(X), y)
    return result


def preprocessing_of(net: fj.Sequential, model: str) -> fj.Preprocessing:
    """What a saved network learnt of its table.

    Raises:
        ValueError: nothing, or nothing that goes with the network.
    """
    if net.preprocessing is None:
        raise ValueError(
            f"{model} does not say what its columns are, as it was not saved by this command: load it with fastjac.load"
        )
    learnt = fj.Preprocessing.from_json(net.preprocessing)
    if (learnt.inputs, learnt.outputs) != (net.inputs, net.outputs):
        raise ValueError(
            f"{model} has a network of {net.inputs} inputs and {net.outputs} outputs, but a preprocessing"
            f" of {learnt.inputs} and {learnt.outputs}"
        )
    return learnt
