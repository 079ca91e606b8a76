"""From tables to the arrays a network takes, and from what it gives back to classes and amounts.

What is learnt from the rows to train on (means, scales, categories, classes, what to put for missing values) is a
``Preprocessing``. It is made of plain values, and travels in the file of the network (``network.preprocessing``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastjac.data import written
from fastjac.data.columns import (
    MISSING_WORDS,
    Table,
    as_table,
    is_number,
    length,
)
from fastjac.data.features import (
    TASKS,
    Amount,
    CategoryColumn,
    Classes,
    Feature,
    Label,
    NumberColumn,
    row_name,
    rows_name,
)
from fastjac.data.learning import FeatureLearner, Rows, TargetLearner
from fastjac.kernels import softmax
from fastjac.kernels.arrays import float_type, unknown
from fastjac.support import arguments
from fastjac.support.attributes import Strict, checks_keywords

_SAMPLE = 16_384  # rows of a stream that its medians are taken of


class Preprocessing(Strict, strict=True):
    """What was learnt from a table: how its columns become a network's input, and its target a network's output.

    Numbers are standardised, booleans become 0 and 1, texts one place for each category.

    Args:
        columns: what was learnt of each column of the input, in the order they take in the network's input.
        target: what was learnt of the target.
        impute: whether missing values are filled.
        na: texts that are missing values wherever they stand, and the numbers they write.

    Attributes:
        inputs: width of the network's input.
        outputs: width of its output.
        task: "classification" or "regression".
        loss: the loss for it: "softmax_cross_entropy" or "mean_squared_error".

    Raises:
        TypeError: ``na`` is one text instead of several.

    >>> table = {"age": [20, 30, 40, 50], "city": ["Oslo", "Bern", "Oslo", "Rome"], "buys": ["no", "no", "yes", "yes"]}
    >>> learnt = Preprocessing.learn(table, target="buys")
    >>> learnt.inputs, learnt.task, learnt.target.classes
    (4, 'classification', ('no', 'yes'))
    >>> learnt.features({"city": ["Oslo"], "age": [35]})
    array([[0., 0., 1., 0.]], dtype=float32)
    >>> Preprocessing.from_json(learnt.to_json()).to_json() == learnt.to_json()
    True
    """

    columns: tuple[Feature, ...]
    target: Classes | Amount
    impute: bool
    na: tuple[str, ...]
    inputs: int
    outputs: int
    task: str
    loss: Literal["softmax_cross_entropy", "mean_squared_error"]

    def __init__(
        self, columns: Sequence[Feature], target: Classes | Amount, impute: bool = False, na: Iterable[str] = ()
    ) -> None:
        self.columns = tuple(columns)
        self.target = target
        self.impute = impute
        self.na = arguments.texts("na", na)
        self.inputs = sum(column.width for column in self.columns)
        self.outputs = target.outputs
        self.task = target.task
        self.loss = target.loss

    @classmethod
    @checks_keywords
    def learn(
        cls,
        data: object,
        target: str,
        *,
        task: str | None = None,
        impute: bool = False,
        categorical: Iterable[str] = (),
        drop: Iterable[str] = (),
        na: Iterable[str] = (),
        rows: np.ndarray | Sequence[int] | None = None,
    ) -> Preprocessing:
        """Learn from a table.

        Args:
            data: the table; see ``fastjac.data.columns.as_table``.
            target: name of the column to predict.
            task: "classification" or "regression". None: classification for texts, for booleans, and for whole
                numbers with two different values, or with at most 20 that have five rows each on average; regression
                for all other numbers.
            impute: fill missing values: numbers with the median, booleans and texts with the most frequent.
            categorical: columns to be taken for categories, though they are numbers, or texts of which most are
                numbers or nearly every row has another.
            drop: columns to leave out.
            na: texts that are missing values in every column, such as "-" or "-999", and the numbers they write; here
                and in ``features`` and ``targets``. ``tables.read`` takes them, too.
            rows: the rows to learn from, as an index of arrays; None for all. The target's classes are those of all
                rows.

        Returns:
            A new ``Preprocessing``.

        Raises:
            TypeError, ValueError: not a table; unknown names; a column that is missing values, has dates, has texts of
                which more than half are numbers (or all, in a column that was not read as texts or categories on
                purpose and has no codes such as 007), or all would be with decimal commas, or has more than 1,000
                different texts; a target that does not suit the task.

        Warns:
            UserWarning: a column of texts that has 20 categories or more, and more than one for every other row.
        """
        table = as_table(data)
        if rows is not None:
            count = length(table)
            try:
                rows = np.arange(count)[rows]
            except IndexError as error:
                raise ValueError(f"rows is no index of {count} rows: {error}") from error
        return cls.learn_from(
            [table], target, task=task, impute=impute, categorical=categorical, drop=drop, na=na, rows=rows, sample=None
        )

    @classmethod
    @checks_keywords
    def learn_from(
        cls,
        pieces: Iterable[object],
        target: str,
        *,
        task: str | None = None,
        impute: bool = False,
        categorical: Iterable[str] = (),
        drop: Iterable[str] = (),
        na: Iterable[str] = (),
        rows: np.ndarray | Sequence[int] | None = None,
        sample: int | None = _SAMPLE,
    ) -> Preprocessing:
        """``learn`` from a table that comes in pieces, of which one at a time is in memory.

        Args:
            pieces: tables with the same columns, each as ``learn`` takes it.
            target, task, impute, categorical, drop, na: as in ``learn``.
            rows: the rows to learn from, counted through all pieces: their numbers, or a boolean for each; None for
                all. The target's classes are those of all rows.
            sample: medians are those of so many numbers of each column, drawn at random; None for all.

        Returns:
            A new ``Preprocessing``.

        Raises:
            TypeError, ValueError: as ``learn``, and where there is no row, or a column has values of one kind in one
                piece and of another in another.
        """
        if task not in (None, *TASKS):
            raise unknown("task", task, TASKS)
        categorical, drop, na = (
            arguments.texts(*one) for one in (("categorical", categorical), ("drop", drop), ("na", na))
        )
        if sample is not None:
            sample = arguments.count("sample", sample)
        chosen = Rows(rows)
        target_learner = TargetLearner(target, task)
        learners: dict[str, FeatureLearner] = {}
        first = 0
        for piece in pieces:
            table = {name: column.without(na) for name, column in as_table(piece).items()}
            if not learners:
                _check_names(table, target, categorical, drop)
                for name in table:
                    if name != target and name not in drop:
                        learners[name] = FeatureLearner(name, impute, sample, name in categorical)
                if not learners:
                    raise ValueError(f"the table has no columns but the target {target!r} and those dropped")
            for name in (target, *learners):
                if name not in table:
                    raise ValueError(f"the piece from row {first + 1} on has no column {name!r}; it has {_some(table)}")
            count = length(table)
            if count:
                within = chosen.within(first, count)
                target_learner.add(table[target], within, first)
                for name, learner in learners.items():
                    learner.add(table[name], within, first)
            first += count
        if not first:
            raise ValueError("the table has no rows, expected at least one")
        chosen.check(first)
        return cls([learner.learnt() for learner in learners.values()], target_learner.learnt(), impute, na)

    @classmethod
    def of_arrays(cls, inputs: int, classes: Sequence[Label], target: str = "label") -> Preprocessing:
        """For an array whose columns are taken as they are, named "0", "1", …, and class indices.

        Args:
            inputs: how many columns.
            classes: the class of each index.
            target: the name of what is predicted.

        Returns:
            A new ``Preprocessing``, with a mean of 0 and a scale of 1 for each column.

        >>> Preprocessing.of_arrays(2, [0, 1]).features({"1": [5.0], "0": [4.0]})
        array([[4., 5.]], dtype=float32)
        """
        return cls([NumberColumn(str(k), 0.0, 1.0) for k in range(inputs)], Classes(target, classes))

    @property
    def text_columns(self) -> list[str]:
        """Columns to be read as texts even where they look like numbers."""
        texts = [column.name for column in self.columns if isinstance(column, CategoryColumn)]
        if isinstance(self.target, Classes) and isinstance(self.target.classes[0], str):
            texts.append(self.target.name)
        return texts

    @property
    def verbatim_columns(self) -> list[str]:
        """Columns of texts in which NA and the like are texts, whatever is beside them in a file.

        A CSV file decides by all its values whether such a word is a missing value; what was learnt must not be read by
        the values that happen to be in another file.
        """
        texts = {column.name: column.categories for column in self.columns if isinstance(column, CategoryColumn)}
        if self.target.name in self.text_columns:
            texts[self.target.name] = getattr(self.target, "classes", ())
        return [name for name, found in texts.items() if not all(map(_was_number, found))]

    def extra(self, data: object) -> list[str]:
        """The names of a table's columns that are not used.

        Args:
            data: the table.

        Returns:
            Those that are neither columns learnt from nor the target, in the table's order.

        Raises:
            TypeError, ValueError: not a table.
        """
        used = {column.name for column in self.columns} | {self.target.name}
        return [name for name in as_table(data) if name not in used]

    def features(self, data: object, *, dtype: DTypeLike = "float32", first: int = 0) -> np.ndarray:
        """The network's input for the rows of a table.

        Args:
            data: the table: columns in any order; others than those learnt from are ignored.
            dtype: "float32" or "float64".
            first: how many rows come before this table's, for messages that name a row.

        Returns:
            (N, inputs), of this dtype.

        Raises:
            TypeError: not a table.
            ValueError: a column is not there, is missing values that were not imputed in training, does not hold what
                it held in training, or has a number so far from those that ``dtype`` can't hold it.

        Warns:
            UserWarning: with their count, of texts not seen in training: none of a column's categories is set.
        """
        table = as_table(data)
        out = np.empty((length(table), self.inputs), float_type(dtype))
        begin = 0
        for learnt in self.columns:
            if learnt.name not in table:
                raise ValueError(f"the table has no column {learnt.name!r}; it has {_some(table)}")
            column = table[learnt.name].without(self.na)
            learnt.encode(column, out[:, begin : begin + learnt.width], first)
            begin += learnt.width
        return out

    def targets(self, data: object, *, first: int = 0) -> np.ndarray:
        """What the network's loss takes for the target.

        Args:
            data: the table; columns other than the target's are ignored.
            first: how many rows come before this table's, for messages that name a row.

        Returns:
            (N,): int64 class indices, or float64 amounts, standardised.

        Raises:
            TypeError: not a table.
            ValueError: no such column, missing values, or a class that was not there in training.
        """
        table = as_table(data)
        if self.target.name not in table:
            raise ValueError(f"the table has no column {self.target.name!r}, the target; it has {_some(table)}")
        return self.target.encode(table[self.target.name].without(self.na), first)

    def predictions(self, outputs: np.ndarray) -> dict[str, np.ndarray | list[Label]]:
        """The columns of a table of predictions, from what the network gave.

        Args:
            outputs: (N, outputs), as ``Sequential.predict`` gives them.

        Returns:
            For classes: the most probable one under the target's name, and the probability of each class as
            "p(class)", or "p(target=class)" where the target itself has such a name. For amounts: the amount, in the
            target's units.

        Raises:
            ValueError: another shape, or numbers that are not finite: there is no most probable class of them.

        >>> learnt = Preprocessing.of_arrays(1, ["no", "yes"], "buys")
        >>> learnt.predictions(np.array([[0.0, 0.0], [0.0, 3.0]]))["buys"]
        ['no', 'yes']
        """
        outputs = self._checked(outputs)
        if isinstance(self.target, Amount):
            with np.errstate(over="ignore"):
                amounts = outputs[:, 0].astype(np.float64) * self.target.scale + self.target.mean
            _refuse_infinite("amounts", amounts)
            return {self.target.name: amounts}
        _refuse_infinite("outputs", outputs)
        probabilities = softmax(outputs) if len(outputs) else outputs
        best = outputs.argmax(1) if len(outputs) else ()
        names = [f"p({one})" for one in self.target.classes]
        if self.target.name in names:
            names = [f"p({self.target.name}={one})" for one in self.target.classes]
        return {self.target.name: [self.target.classes[k] for k in best]} | {
            name: probabilities[:, k] for k, name in enumerate(names)
        }

    def _checked(self, outputs: ArrayLike) -> np.ndarray:
        given: np.ndarray = np.asarray(outputs)
        if given.ndim != 2 or given.shape[1] != self.outputs or given.dtype.kind not in "fiub":
            raise ValueError(
                f"outputs has shape {given.shape} and type {given.dtype}, expected numbers of shape"
                f" (rows, {self.outputs})"
            )
        return given

    def errors(self, outputs: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """Of amounts: the root mean squared error in the target's units, and R².

        Args:
            outputs: (N, 1), as ``Sequential.predict`` gives them.
            y: (N,), as ``targets`` gives them.

        Returns:
            {"rmse": …, "r2": …}; R² is NaN where all amounts are the same.

        Raises:
            ValueError: a target of classes, other shapes, or no rows.
        """
        if not isinstance(self.target, Amount):
            raise ValueError(f"the target {self.target.name!r} is of classes, expected amounts")
        outputs, y = self._checked(outputs), np.asarray(y)
        if y.shape != (len(outputs),) or not len(y):
            raise ValueError(
                f"y has shape {y.shape} and outputs {outputs.shape}, expected as many rows, and at least one"
            )
        squares = float(((outputs[:, 0].astype(np.float64) - y) ** 2).sum())
        spread = float(((y - y.mean()) ** 2).sum())
        return {
            "rmse": math.sqrt(squares / len(y)) * self.target.scale,
            "r2": 1 - squares / spread if spread > 0 else math.nan,
        }

    def to_json(self) -> dict[str, object]:
        """All of it as dictionaries, lists, texts and numbers, which ``from_json`` takes."""
        return {
            "format": written.FORMAT,
            "version": written.VERSION,
            "columns": [column.to_json() for column in self.columns],
            "target": self.target.to_json(),
            "impute": self.impute,
            **({"na": list(self.na)} if self.na else {}),
        }

    @classmethod
    def from_json(cls, value: object) -> Preprocessing:
        """What ``to_json`` gave, every part of it checked.

        Args:
            value: dictionaries, lists, texts and numbers, such as ``json.loads`` makes.

        Returns:
            A new ``Preprocessing``.

        Raises:
            ValueError: something is missing, unknown or out of range, named by its place.
        """
        return cls(*written.read(value))

    def __repr__(self) -> str:
        return f"Preprocessing({len(self.columns)} columns, {self.inputs} inputs, {self.task} of {self.target.name!r})"


def _was_number(text: str) -> bool:
    """Whether a CSV file has this for a number."""
    return text not in MISSING_WORDS and is_number(text.replace(",", "."))


def _refuse_infinite(what: str, values: np.ndarray) -> None:
    wrong = ~np.isfinite(values).reshape(len(values), -1).all(1)
    if wrong.any():
        k = int(np.argmax(wrong))
        count, shown = int(wrong.sum()), ", ".join(f"{one:g}" for one in np.atleast_1d(values[k])[:5])
        raise ValueError(
            f"the network's {what} are not finite numbers in {count} {rows_name(count)}, the first in"
            f" {row_name(0, k)} ({shown}): nothing is predicted of them"
        )


def _check_names(table: Table, target: str, categorical: tuple[str, ...], drop: tuple[str, ...]) -> None:
    for name in (target, *categorical, *drop):
        if name not in table:
            raise unknown("column", name, list(table))
    if target in drop:
        raise ValueError(f"column {target!r} is the target and can't be dropped")
    if target in categorical:
        raise ValueError(
            f"column {target!r} is the target and no input; task='classification' (--task classification)"
            " makes classes of it"
        )
    both = sorted(set(categorical) & set(drop))
    if both:
        raise ValueError(f"column {both[0]!r} is in drop and in categorical, expected one of the two")


def _some(table: Table) -> str:
    names = list(table)
    return ", ".join(repr(name) for name in names[:20]) + (", …" if len(names) > 20 else "") if names else "no columns"
