"""A ``Preprocessing`` as a file has it, read with every part checked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from fastjac.data.columns import (
    shortened,
)
from fastjac.data.features import (
    CLASSIFICATION,
    REGRESSION,
    TASKS,
    Amount,
    BooleanColumn,
    CategoryColumn,
    Classes,
    Feature,
    NumberColumn,
)

FORMAT, VERSION = "fastjac.preprocessing", 1


class _Reader:
    """A dictionary of a file, whose entries are asked for by name; ``what`` is the dictionary in messages."""

    def __init__(self, value: object, what: str, keys: Iterable[str]) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{what} is {type(value).__name__}, expected a dictionary")
        self.value, self.what = value, what
        for key in keys:
            if key not in value:
                raise ValueError(f"{what} has no {key!r}")
        unknown_keys = sorted(str(key) for key in value if key not in keys)
        if unknown_keys:
            raise ValueError(f"{what} has the unknown entry {unknown_keys[0]!r}")

    def get(self, key: str, wanted: str, *types: type) -> Any:
        """An entry of exactly one of these types; numbers must be finite."""
        value = self.value[key]
        if type(value) not in types or (isinstance(value, float) and not math.isfinite(value)):
            self.refuse(key, wanted)
        return value

    def number(self, key: str) -> float:
        try:
            return float(self.get(key, "a finite number", int, float))
        except OverflowError:
            self.refuse(key, "a finite number")
            raise

    def scale(self) -> float:
        value = self.number("scale")
        if value <= 0:
            self.refuse("scale", "a number above 0")
        return value

    def refuse(self, key: str, wanted: str) -> None:
        shown = shortened(self.value[key])
        raise ValueError(f"{self.what}.{key} is {shown}, expected {wanted}")


_KEYS = {"number": ("mean", "scale"), "boolean": (), "category": ("categories",)}


def _read_feature(value: object, what: str, impute: bool) -> Feature:
    kind = value.get("kind") if isinstance(value, dict) else None
    if isinstance(value, dict) and (not isinstance(kind, str) or kind not in _KEYS):
        raise ValueError(f"{what}.kind is {shortened(kind)}, expected {', '.join(_KEYS)}")
    reader = _Reader(value, what, ("name", "kind", "fill", *_KEYS.get(str(kind), ())))
    name = reader.get("name", "a text", str)
    if (reader.value["fill"] is not None) != impute:
        reader.refuse("fill", "a value, as impute is true" if impute else "null, as impute is false")
    if kind == "number":
        fill = reader.number("fill") if impute else None
        return NumberColumn(name, reader.number("mean"), reader.scale(), fill)
    if kind == "boolean":
        return BooleanColumn(name, reader.get("fill", "true or false", bool) if impute else None)
    categories = _read_list(reader, "categories", (str,))
    if impute and reader.value["fill"] not in categories:
        reader.refuse("fill", "one of the categories")
    return CategoryColumn(name, categories, reader.value["fill"])


def _read_target(value: object) -> Classes | Amount:
    what = "preprocessing.target"
    task = value.get("task") if isinstance(value, dict) else None
    if isinstance(value, dict) and task not in TASKS:
        raise ValueError(f"{what}.task is {shortened(task)}, expected {' or '.join(TASKS)}")
    reader = _Reader(value, what, ("name", "task", *(("classes",) if task == CLASSIFICATION else ("mean", "scale"))))
    name = reader.get("name", "a text", str)
    if task == REGRESSION:
        return Amount(name, reader.number("mean"), reader.scale())
    classes = _read_list(reader, "classes", (str, bool, int, float))
    if len({type(one) is str for one in classes}) > 1 or len(classes) < 2:
        reader.refuse("classes", "two or more, all texts or all numbers")
    return Classes(name, classes)


def _read_list(reader: _Reader, key: str, types: tuple[type, ...]) -> tuple[Any, ...]:
    values = reader.get(key, "a list", list)
    finite = all(type(one) in types and not (isinstance(one, float) and not math.isfinite(one)) for one in values)
    if not values or not finite or len(set(values)) < len(values):
        reader.refuse(key, "different " + ("texts" if types == (str,) else "texts or numbers"))
    return tuple(values)


def read(value: object) -> tuple[list[Feature], Classes | Amount, bool, tuple[str, ...]]:
    """What ``Preprocessing`` is made of, from what its ``to_json`` gave.

    Raises:
        ValueError: something is missing, unknown or out of range, named by its place.
    """
    optional = ("na",) if isinstance(value, dict) and "na" in value else ()
    reader = _Reader(value, "preprocessing", ("format", "version", "columns", "target", "impute", *optional))
    if reader.value["format"] != FORMAT:
        reader.refuse("format", repr(FORMAT))
    if reader.get("version", "a whole number", int) != VERSION:
        reader.refuse("version", f"{VERSION}; a newer fastjac may read it")
    impute = reader.get("impute", "true or false", bool)
    entries = reader.get("columns", "a list", list)
    if not entries:
        reader.refuse("columns", "at least one column")
    features = [_read_feature(entry, f"preprocessing.columns[{k}]", impute) for k, entry in enumerate(entries)]
    target = _read_target(reader.value["target"])
    names = [target.name, *(feature.name for feature in features)]
    if len(set(names)) < len(names):
        raise ValueError(f"preprocessing has two columns named {Counter(names).most_common(1)[0][0]!r}")
    return features, target, impute, _read_list(reader, "na", (str,)) if optional else ()
