"""The figures as tables, Markdown and pictures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from fastjac.benchmarks.roof import LEVELS

from fastjac.support import report
from fastjac.support.atomic import atomic_file

Found = dict[str, Any]  # what was measured, or a part of it, as results.json has it

Table = tuple[str, list[str], list[list[str]]]  # title, columns, rows


def _microseconds(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    middle = ordered[len(ordered) // 2]
    spread = (ordered[-1] - ordered[0]) / 2 / middle
    return f"{middle * 1e6:,.1f} ±{spread:.0%}"


def _verdict(value: float | None, target: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if target is None else f"{value:.2f} ({'≥' if round(value, 2) >= target else '<'} {target:g})"


def tables(found: Found) -> list[Table]:
    """Every part that was measured, as tables of text."""
    result: list[Table] = []
    if "roof" in found:
        roof = found["roof"]
        rows = [
            ["fma peak, float32, one thread", f"{roof['peak_float32'] / 1e9:,.0f} GFLOP/s"],
            ["fma peak, float64, one thread", f"{roof['peak_float64'] / 1e9:,.0f} GFLOP/s"],
            [f"fma peak, float32, {roof['threads']} threads", f"{roof['peak_all_threads'] / 1e9:,.0f} GFLOP/s"],
            *([f"copy in {level}, one thread", f"{b / 1e9:,.0f} GB/s"] for level, b in roof["bandwidth"].items()),
        ]
        if roof["meeting_seconds"] is not None:
            rows.append([f"a meeting of {roof['threads']} threads", f"{roof['meeting_seconds'] * 1e6:.2f} µs"])
        result.append(("The roof", ["", "Measured"], rows))
    for part, title, unit in (
        ("products", "Matrix products, one thread", "GFLOP/s"),
        ("functions", "Element-wise functions, one thread", "10⁹ numbers/s"),
        ("grid", "Products of random sizes, one thread", "GFLOP/s"),
    ):
        if part not in found:
            continue
        names = list(found[part][0]["rates"])
        columns = ["", "Type", *(f"{name}, {unit}" for name in names)]
        columns += ["Of the peak"] if part != "functions" else ["Numbers", "Of a copy's bandwidth"]
        rows = []
        for figure in found[part]:
            rates = [f"{figure['rates'][name] / 1e9:,.2f}" for name in names]
            if part == "functions":
                last = [f"{figure['size']:,}", _of_the_bandwidth(figure, found)]
            else:
                last = [_verdict(figure["rates"]["fastjac"] / figure["peak"], figure["target"])]
            rows.append([figure["name"], figure["dtype"], *rates, *last])
        result.append((title, columns, rows))
    for threads in sorted({race["threads"] for race in found.get("races", [])}):
        races = [race for race in found["races"] if race["threads"] == threads]
        peers = list(races[0]["lanes"])
        rows = []
        for race in races:
            lanes = race["lanes"]
            rows.append(
                [
                    f"{race['workload']}: {race['mode']}",
                    *(_microseconds(lanes[p]["seconds"]) if lanes[p]["seconds"] else "–" for p in peers),
                    _verdict(race["ratio"], race["target"]) + (f" of {race['against']}" if race["against"] else ""),
                    _of_the_peak(race, found),
                ]
            )
        columns = ["µs a step or call", *peers, "Fastest peer / fastjac", "Products, of the peak"]
        result.append((f"Beside peers, {threads} thread{'s' if threads > 1 else ''}", columns, rows))
    result += _several_threads(found)
    if found.get("fits"):
        rows = []
        for fit in found["fits"]:
            ours, theirs = (statistics.median(fit["seconds"][name]) for name in ("fastjac", "scikit-learn"))
            scores = [f"{statistics.median(fit['scores'][name]):.4f}" for name in ("fastjac", "scikit-learn")]
            times = [f"{ours:.3f} s", f"{theirs:.3f} s"]
            rows.append([fit["name"], fit["dtype"], *times, _verdict(theirs / ours, fit["target"]), *scores])
        columns = ["fit", "Type", "fastjac", "scikit-learn", "scikit-learn / fastjac", "Score", "scikit-learn's score"]
        result.append(("Estimators beside scikit-learn, one thread", columns, rows))
    if "feelings" in found:
        names = list(dict.fromkeys(name for feeling in found["feelings"] for name in feeling["values"]))
        rows = []
        for feeling in found["feelings"]:
            values = {name: sorted(v)[len(v) // 2] for name, v in feeling["values"].items()}
            cells = [f"{values[name]:,.2f} {feeling['unit']}" if name in values else "–" for name in names]
            rows.append([feeling["name"], *cells, feeling["target"] or "–"])
        result.append(("What a user feels", ["", *names, "Target"], rows))
    return result


def _of_the_peak(race: Found, found: Found) -> str:
    """The arithmetic of a step's products over its whole time, as a fraction of the fma peak of as many threads."""
    if not race["flops"] or "roof" not in found or not race["lanes"]["fastjac"]["seconds"]:
        return "–"
    peak = found["roof"]["peak_float32" if race["threads"] == 1 else "peak_all_threads"]
    rate = race["flops"] / statistics.median(race["lanes"]["fastjac"]["seconds"])
    return _verdict(rate / peak, 0.45 if race["workload"] == "expm" and race["threads"] == 1 else None)


def _of_the_bandwidth(figure: Found, found: Found) -> str:
    """Bytes read and written a second over those of a copy in the level of memory that holds both arrays."""
    if "roof" not in found:
        return "–"
    size = 2 * figure["size"] * np.dtype(figure["dtype"]).itemsize
    level = next((name for name, one in LEVELS.items() if size <= 2 * one), "memory")
    width = size / figure["size"]
    return f"{figure['rates']['fastjac'] * width / found['roof']['bandwidth'][level]:.2f} ({level})"


def _several_threads(found: Found) -> list[Table]:
    """How much faster all threads are than one, where both were measured."""
    medians = {
        (race["workload"], race["threads"]): statistics.median(race["lanes"]["fastjac"]["seconds"])
        for race in found.get("races", [])
        if race["mode"] == "train" and race["lanes"]["fastjac"]["seconds"]
    }
    targets = {"expm": 1.7, "tiny": 1.0, "medium": 1.7, "large": 1.7}
    rows = [
        [name, str(threads), _verdict(medians[name, 1] / seconds, targets.get(name))]
        for (name, threads), seconds in medians.items()
        if threads > 1 and (name, 1) in medians
    ]
    return [("fastjac's threads", ["Network", "Threads", "One thread's time / theirs"], rows)] if rows else []


def errors(found: Found) -> list[str]:
    """Why peers are missing from races."""
    lines = [f"{name} is not installed" for name in found.get("absent", [])]
    for race in found.get("races", []):
        lines += [
            f"{race['workload']}, {race['mode']}: {name}: {lane['error']}"
            for name, lane in race["lanes"].items()
            if lane["error"] and lane["error"] != "has no such way"
        ]
    return list(dict.fromkeys(lines))


def text(found: Found) -> str:
    """For a terminal."""
    parts = [report.table(title, columns, rows) for title, columns, rows in tables(found)]
    return "\n\n".join([*parts, *errors(found)])


def _as_markdown(columns: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in [columns, *rows]]
    return [lines[0], "|" + "---|" * len(columns), *lines[1:]]


def markdown(found: Found, command: str) -> str:
    """For a page."""
    lines = ["# Benchmark results", "", "Measured on:", ""]
    lines += [f"- {name}: {value}" for name, value in found["machine"].items()]
    lines += [
        "",
        f"Made by `{command}`. Medians of interleaved rounds, ± half of the range. After a ratio or a"
        " fraction comes its target: ≥ where it is reached, < where it is missed.",
        "",
    ]
    for name, picture in PICTURES.items():
        if _has(found, name):
            lines += [f"![{picture}]({name})", ""]
    for title, columns, rows in tables(found):
        lines += [f"## {title}", "", *_as_markdown(columns, rows), ""]
    missing = errors(found)
    if missing:
        lines += ["Left out:", "", *(f"- {line}" for line in missing), ""]
    return "\n".join(lines)


def excerpt(found: Found) -> str:
    """For a README: training steps of both, and their ratio, with machine and versions."""
    races = [race for race in found.get("races", []) if race["mode"] == "train" and race["ratio"] is not None]
    rows = []
    for race in races:
        medians = {name: statistics.median(lane["seconds"]) for name, lane in race["lanes"].items() if lane["seconds"]}
        ours = medians.pop("fastjac")
        peer = min(medians, key=medians.__getitem__)
        rows.append(
            [
                race["workload"],
                str(race["threads"]),
                f"{ours * 1e6:,.1f}",
                f"{medians[peer] * 1e6:,.1f} ({peer})",
                f"{race['ratio']:.2f}",
            ]
        )
    columns = ["Network", "Threads", "fastjac, µs a step", "Fastest peer, µs a step", "Ratio"]
    facts = found["machine"]
    return "\n".join(
        [
            *_as_markdown(columns, rows),
            "",
            f"{facts['processor']}, {facts['cores']} cores; {facts['versions']}; {facts['date']}.",
            "",
        ]
    )


MARKS = ("<!-- results -->", "<!-- end of results -->")


def between_marks(text: str, excerpt: str) -> str:
    """The text with this excerpt between its marks.

    >>> between_marks("a <!-- results --> b <!-- end of results --> c", "1")
    'a <!-- results -->\\n1<!-- end of results --> c'
    """
    before, begin, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise click.ClickException(f"there are no marks {MARKS[0]} and {MARKS[1]} to put the results between")
    return f"{before}{begin}\n{excerpt}{end}{after}"


PICTURES = {
    "ratios.png": "Training steps beside the fastest peer",
    "roof.png": "Matrix products as a fraction of the fma peak",
}


def _has(found: Found, picture: str) -> bool:
    return bool(found.get("races" if picture == "ratios.png" else "products"))


def pictures(found: Found, folder: Path, say: Callable[[str], None]) -> list[Path]:
    """Bars of ratios, and the fraction of the roof against size; nothing where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        say('no pictures: they need matplotlib, pip install "fastjac[bench]"')
        return []
    matplotlib.use("Agg")
    from matplotlib import pyplot

    made = []
    races = [race for race in found.get("races", []) if race["ratio"] is not None and race["mode"] == "train"]
    if races:
        figure, axes = pyplot.subplots(figsize=(8, 4))
        names = list(dict.fromkeys(race["workload"] for race in races))
        counts = sorted({race["threads"] for race in races})
        for k, threads in enumerate(counts):
            mine = {race["workload"]: race for race in races if race["threads"] == threads}
            places = [names.index(name) + (k - (len(counts) - 1) / 2) * 0.38 for name in mine]
            axes.bar(places, [race["ratio"] for race in mine.values()], 0.36, label=f"{threads} thread(s)")
            for place, race in zip(places, mine.values(), strict=True):
                axes.plot([place - 0.18, place + 0.18], [race["target"]] * 2, color="black", linewidth=1)
        axes.axhline(1, color="grey", linewidth=1)
        axes.set_xticks(range(len(names)), names)
        axes.set_ylabel("fastest peer's median step / fastjac's")
        axes.set_title("Training steps beside the fastest peer (black: target)")
        axes.legend()
        made.append(_save(figure, folder / "ratios.png"))
    products = [f for f in [*found.get("products", []), *found.get("grid", [])] if f["dtype"] == "float32"]
    if products:
        figure, axes = pyplot.subplots(figsize=(8, 4))
        for name in products[0]["rates"]:
            ordered = sorted(products, key=lambda f: f["size"])
            axes.plot([f["size"] for f in ordered], [f["rates"][name] / f["peak"] for f in ordered], "o-", label=name)
        axes.set_xscale("log")
        axes.set_ylim(0, 1)
        axes.set_xlabel("floating-point operations of the product")
        axes.set_ylabel("fraction of the fma peak")
        axes.set_title("Matrix products, float32, one thread")
        axes.legend()
        made.append(_save(figure, folder / "roof.png"))
    return made


def _save(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot

    figure.tight_layout()
    with atomic_file(path) as file:
        figure.savefig(file, dpi=120, format="png")
    pyplot.close(figure)
    return path
