"""The figures as tables, Markdown and pictures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from fastjac.benchmarks.bounds import PARTS
from fastjac.benchmarks.race import IN_ORDER, OURS
from fastjac.benchmarks.roof import Bandwidth, at_size
from fastjac.benchmarks.workloads import WORKLOADS

from fastjac.support import report
from fastjac.support.atomic import atomic_file

Found = dict[str, Any]  # what was measured, or a part of it, as results.json has it


class Table(NamedTuple):
    """Some figures, and which parts of ``fastjac bench`` measure them."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    parts: str


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
        result += [_roof(found["roof"]), _bandwidths(found["roof"])]
    for part, title, unit in (
        ("products", "Matrix products, one thread", "GFLOP/s"),
        ("functions", "Element-wise functions, one thread", "10⁹ numbers/s"),
        ("grid", "Products of random sizes, one thread", "GFLOP/s"),
    ):
        if part in found:
            result.append(_kernels(found, part, title, unit))
    if "bounds" in found:
        result.append(_bounds(found))
    for threads in sorted({race["threads"] for race in found.get("races", [])}):
        result.append(_races(found, threads))
    result += _several_threads(found) + _few_batches(found)
    if found.get("fits"):
        result.append(_fits(found["fits"]))
    if "feelings" in found:
        result.append(_feelings(found["feelings"]))
    return result


def _roof(roof: Found) -> Table:
    rows = [
        ["fma peak, float32, one thread", f"{roof['peak_float32'] / 1e9:,.0f} GFLOP/s"],
        ["fma peak, float64, one thread", f"{roof['peak_float64'] / 1e9:,.0f} GFLOP/s"],
        [f"fma peak, float32, {roof['threads']} threads", f"{roof['peak_all_threads'] / 1e9:,.0f} GFLOP/s"],
        ["numbers in a register, float32", str(roof["lanes"])],
        ["clock", f"{roof['clock'] / 1e9:.2f} GHz"],
        ["division of a register, float32", f"{roof['division_seconds'] * roof['clock']:.1f} cycles"],
        ["multiply-add of half a register ÷ of a whole one", f"{roof['half_cost']:.2f}"],
    ]
    if roof["meeting_seconds"] is not None:
        rows.append([f"a meeting of {roof['threads']} threads", f"{roof['meeting_seconds'] * 1e6:.2f} µs"])
    return Table("The roof", ["", "Measured"], rows, "roof")


def _bandwidths(roof: Found) -> Table:
    rows = [
        [_size(one["size"]), f"{one['copy'] / 1e9:,.0f}", f"{one['in_place'] / 1e9:,.0f}"] for one in roof["bandwidths"]
    ]
    columns = ["Memory gone through", "Copy, GB/s", "Change in place, GB/s"]
    return Table("Bytes read and written, one thread", columns, rows, "roof")


def _size(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def _kernels(found: Found, part: str, title: str, unit: str) -> Table:
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
    return Table(title, columns, rows, "roof,kernels" if part == "functions" else "kernels")


def _races(found: Found, threads: int) -> Table:
    """Of all modes; peers that have none of one leave its cell empty."""
    races = [race for race in found["races"] if race["threads"] == threads]
    lanes = list(dict.fromkeys(lane for race in races for lane in race["lanes"]))
    rows = []
    for race in races:
        seconds = {lane: race["lanes"][lane]["seconds"] for lane in lanes if lane in race["lanes"]}
        of_whom = f" of {race['against']}" if race["against"] and race["ratio"] is not None else ""
        rows.append(
            [
                f"{race['workload']}: {race['mode']}",
                *(_microseconds(seconds[lane]) if seconds.get(lane) else "–" for lane in lanes),
                _verdict(race["ratio"], race["target"]) + of_whom,
                _verdict(race["ratio_in_order"], None),
                *(_of_the_roof(found, race) if threads == 1 else [_of_the_peak(found, race)]),
            ]
        )
    columns = ["µs a step or call", *lanes, "Fastest peer / fastjac", "Ratio in order"]
    columns += ["Of the roof", "Fraction in order"] if threads == 1 else ["Products, of the peak"]
    return Table(f"Beside peers, {_threads(threads)}", columns, rows, "roof,steps")


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def fraction(found: Found, race: Found, lane: str) -> float | None:
    """The roof of a step over the time that it takes in one of our lanes, where there is a roof: on one thread."""
    if race["mode"] != "train" or race["threads"] != 1 or "bounds" not in found or not race["lanes"][lane]["seconds"]:
        return None
    taken: list[float] = race["lanes"][lane]["seconds"]
    return _total(found, race["workload"], lane) / statistics.median(taken)


def _total(found: Found, workload: str, lane: str) -> float:
    return float(sum(found["bounds"][workload][lane].values()))


def _of_the_roof(found: Found, race: Found) -> list[str]:
    if race["mode"] != "train":
        return ["–", "–"]
    target = WORKLOADS[race["workload"]].of_the_roof
    return [_verdict(fraction(found, race, OURS), target), _verdict(fraction(found, race, IN_ORDER), None)]


def _of_the_peak(found: Found, race: Found) -> str:
    """The arithmetic of a step's products over its whole time, as a fraction of the fma peak of all threads."""
    if race["mode"] != "train" or "roof" not in found or not race["lanes"][OURS]["seconds"]:
        return "–"
    rate = WORKLOADS[race["workload"]].flops / statistics.median(race["lanes"][OURS]["seconds"])
    return f"{rate / found['roof']['peak_all_threads']:.2f}"


def _bounds(found: Found) -> Table:
    """The roof of each step, part by part."""
    rows = []
    for name, lanes in found["bounds"].items():
        parts = lanes[OURS]
        cells = [f"{parts[part] * 1e6:,.2f}" for part in PARTS]
        rows.append([name, *cells, *(f"{_total(found, name, lane) * 1e6:,.2f}" for lane in (OURS, IN_ORDER))])
    columns = ["µs a step", *(part.capitalize() for part in PARTS), "The roof", "The roof in order"]
    return Table("The roof of a training step, one thread", columns, rows, "roof,steps")


def _of_the_bandwidth(figure: Found, found: Found) -> str:
    """Bytes read and written a second over those of a copy between arrays as large as both."""
    if "roof" not in found:
        return "–"
    width = 2 * np.dtype(figure["dtype"]).itemsize
    one = at_size([Bandwidth(**one) for one in found["roof"]["bandwidths"]], width * figure["size"])
    return f"{figure['rates']['fastjac'] * width / one.copy:.2f} ({_size(one.size)})"


def _medians(found: Found, lane: str = OURS, mode: str = "train") -> dict[tuple[str, int], float]:
    """Seconds a step in one of our lanes, by workload and threads."""
    return {
        (race["workload"], race["threads"]): statistics.median(race["lanes"][lane]["seconds"])
        for race in found.get("races", [])
        if race["mode"] == mode and race["lanes"][lane]["seconds"]
    }


def _several_threads(found: Found) -> list[Table]:
    """How much faster all threads are than one, where both were measured."""
    medians = _medians(found)
    targets = {"expm": 1.7, "tiny": 1.0, "medium": 1.7, "large": 1.7}
    rows = [
        [name, str(threads), _verdict(medians[name, 1] / seconds, targets.get(name))]
        for (name, threads), seconds in medians.items()
        if threads > 1 and (name, 1) in medians
    ]
    columns = ["Network", "Threads", "One thread's time / theirs"]
    return [Table("fastjac's threads", columns, rows, "steps")] if rows else []


MOST_OF_A_FIT = 60e-6  # seconds of one fit of one step, beyond the step
MOST_OF_FEW = 1.05  # a step's time with few batches an epoch, over that with many


def _few_batches(found: Found) -> list[Table]:
    """What is between the epochs, and around all of them: tiny with few batches, and with one in one fit."""
    rows = []
    few, many = WORKLOADS["tiny4"].batches, WORKLOADS["tiny"].batches
    for lane, how in ((OURS, "shuffled"), (IN_ORDER, "in order")):
        medians = _medians(found, lane)
        if ("tiny", 1) in medians and ("tiny4", 1) in medians:
            ratio = medians["tiny4", 1] / medians["tiny", 1]
            rows.append([f"a step with {few} batches an epoch ÷ with {many}, {how}", _at_most(ratio, MOST_OF_FEW)])
    fit, step = _medians(found, OURS, "one step").get(("tiny", 1)), _medians(found).get(("tiny", 1))
    if fit is not None and step is not None:
        rows.append(["one fit of one step, beyond the step, µs", _at_most((fit - step) * 1e6, MOST_OF_A_FIT * 1e6)])
    return [Table("Small data sets: tiny, one thread", ["", "Measured"], rows, "steps")] if rows else []


def _at_most(value: float, most: float) -> str:
    return f"{value:.2f} ({'≤' if round(value, 2) <= most else '>'} {most:g})"


def _fits(fits: list[Found]) -> Table:
    rows = []
    for fit in fits:
        ours, theirs = (statistics.median(fit["seconds"][name]) for name in ("fastjac", "scikit-learn"))
        scores = [f"{statistics.median(fit['scores'][name]):.4f}" for name in ("fastjac", "scikit-learn")]
        times = [f"{ours:.3f} s", f"{theirs:.3f} s"]
        rows.append([fit["name"], fit["dtype"], *times, _verdict(theirs / ours, fit["target"]), *scores])
    columns = ["fit", "Type", "fastjac", "scikit-learn", "scikit-learn / fastjac", "Score", "scikit-learn's score"]
    return Table("Estimators beside scikit-learn, one thread", columns, rows, "fits")


def _feelings(feelings: list[Found]) -> Table:
    names = list(dict.fromkeys(name for feeling in feelings for name in feeling["values"]))
    rows = []
    for feeling in feelings:
        values = {name: sorted(v)[len(v) // 2] for name, v in feeling["values"].items()}
        cells = [f"{values[name]:,.2f} {feeling['unit']}" if name in values else "–" for name in names]
        rows.append([feeling["name"], *cells, feeling["target"] or "–"])
    return Table("What a user feels", ["", *names, "Target"], rows, "feel")


def missed(found: Found) -> list[str]:
    """Each target of training steps that was not reached, and what bounds it."""
    lines = []
    for race in found.get("races", []):
        if race["mode"] != "train" or not race["lanes"][OURS]["seconds"]:
            continue
        name, target = f"{race['workload']}, {_threads(race['threads'])}", WORKLOADS[race["workload"]].of_the_roof
        share = fraction(found, race, OURS)
        says = []
        if race["ratio"] is not None and race["target"] is not None and round(race["ratio"], 2) < race["target"]:
            says.append(f"{race['ratio']:.2f} times as fast as {race['fastest']}, not {race['target']:g}")
        if share is not None and target is not None and round(share, 2) < target:
            says.append(f"{share:.2f} of the roof, not {target:g}")
        if says:
            lines.append(f"{name}: {'; '.join(says)}.{_why(found, race, share)}")
    return lines


def _why(found: Found, race: Found, share: float | None) -> str:
    """What a step would take at its roof, how fast that would be, and what the roof is made of."""
    if share is None:
        return ""
    parts, taken = found["bounds"][race["workload"]][OURS], statistics.median(race["lanes"][OURS]["seconds"])
    total = _total(found, race["workload"], OURS)
    largest = sorted(parts.items(), key=lambda one: -one[1])[:3]
    made_of = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in largest if seconds > 0)
    text = f" It takes {taken * 1e6:,.1f} µs, its roof is {total * 1e6:,.1f} ({made_of})"
    return text + (f", where the ratio would be {race['ratio'] / share:.2f}." if race["ratio"] is not None else ".")


def errors(found: Found) -> list[str]:
    """Why peers are missing from races."""
    lines = [f"{name} is not installed" for name in found.get("absent", [])]
    for race in found.get("races", []):
        lines += [
            f"{race['workload']}, {race['mode']}: {name}: {lane['error']}"
            for name, lane in race["lanes"].items()
            if lane["error"] and lane["error"] != "has no such way" and name != IN_ORDER
        ]
    return list(dict.fromkeys(lines))


def text(found: Found) -> str:
    """For a terminal."""
    parts = [report.table(one.title, one.columns, one.rows) for one in tables(found)]
    return "\n\n".join([*parts, *missed(found), *errors(found)])


def _as_markdown(columns: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in [columns, *rows]]
    return [lines[0], "|" + "---|" * len(columns), *lines[1:]]


def markdown(found: Found, options: str, only: str | None) -> str:
    """For a page.

    Args:
        found: what was measured.
        options: those of the command that made it, but for ``--only``, such as " --quick".
        only: its ``--only``.
    """
    command = "fastjac bench" + (f" --only {only}" if only else "") + options
    lines = ["# Benchmark results", "", "Measured on:", ""]
    lines += [f"- {name}: {value}" for name, value in found["machine"].items()]
    lines += [
        "",
        f"Made by `{command}`. Medians of interleaved rounds, ± half of the range. After a ratio or a"
        " fraction comes its target: ≥ where it is reached, < where it is missed (≤ and > where less is better)."
        ' `fastjac` trains as `fit` does it, on shuffled and gathered rows; "in order" without that, as the peers do.'
        " What the roof is: see [Benchmarks](../benchmarks.md).",
        "",
    ]
    drawn = _drawn(found)
    for name, picture in PICTURES.items():
        if name in drawn:
            lines += [f"![{picture}]({name})", ""]
    for one in tables(found):
        lines += [f"## {one.title}", "", f"`fastjac bench --only {one.parts}{options}`", ""]
        lines += [*_as_markdown(one.columns, one.rows), ""]
    short = missed(found)
    if short:
        lines += ["## Missed, and what bounds it", "", *(f"- {line}" for line in short), ""]
    missing = errors(found)
    if missing:
        lines += ["Left out:", "", *(f"- {line}" for line in missing), ""]
    return "\n".join(lines)


def excerpt(found: Found) -> str:
    """For a README: training steps of both, and their ratio, with machine and versions."""
    races = [race for race in found.get("races", []) if race["mode"] == "train" and race["ratio"] is not None]
    rows = []
    for race in races:
        ours, in_order, theirs = (
            f"{statistics.median(race['lanes'][lane]['seconds']) * 1e6:,.1f}"
            for lane in (OURS, IN_ORDER, race["fastest"])
        )
        share = fraction(found, race, OURS)
        of_the_roof = "–" if share is None else f"{share:.2f}"
        peer = f"{theirs} ({race['fastest']})"
        ratio = f"{race['ratio']:.2f} ({race['ratio_in_order']:.2f})"
        rows.append([race["workload"], str(race["threads"]), f"{ours} ({in_order})", peer, ratio, of_the_roof])
    columns = [
        "Network",
        "Threads",
        "fastjac, µs a step (in order)",
        "Fastest peer, in order",
        "Ratio (in order)",
        "Of the roof",
    ]
    facts = found["machine"]
    return "\n".join(
        [
            *_as_markdown(columns, rows),
            "",
            "In order: rows neither shuffled nor gathered, as with the peers. Of the roof: the least time that the"
            " machine could need for a step, over the time of ours.",
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
    "steps.png": "Training steps as a fraction of their roof",
    "roof.png": "Matrix products as a fraction of the fma peak",
}


def pictures(found: Found, folder: Path, say: Callable[[str], None]) -> list[Path]:
    """Of ratios, of the roofs of steps, and of products against their size; none where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        say('no pictures: they need matplotlib, pip install "fastjac[bench]"')
        return []
    matplotlib.use("Agg")
    return [_save(draw, folder / name) for name, draw in _drawn(found).items()]


def _drawn(found: Found) -> dict[str, Callable[[Any], None]]:
    """What there is to draw, by the picture's name: functions of the axes."""
    races = [race for race in found.get("races", []) if race["mode"] == "train" and race["lanes"][OURS]["seconds"]]
    raced = [race for race in races if race["ratio"] is not None]
    bounded = [race for race in races if fraction(found, race, OURS) is not None]
    products = [f for f in [*found.get("products", []), *found.get("grid", [])] if f["dtype"] == "float32"]
    drawn: dict[str, Callable[[Any], None]] = {}
    if raced:
        drawn["ratios.png"] = lambda axes: _draw_ratios(axes, raced)
    if bounded:
        drawn["steps.png"] = lambda axes: _draw_steps(axes, found, bounded)
    if products:
        drawn["roof.png"] = lambda axes: _draw_products(axes, products)
    return drawn


def _draw_ratios(axes: Any, races: list[Found]) -> None:
    names = list(dict.fromkeys(race["workload"] for race in races))
    counts = sorted({race["threads"] for race in races})
    wide = 0.8 / len(counts)
    for k, threads in enumerate(counts):
        mine = [race for race in races if race["threads"] == threads]
        places = [names.index(race["workload"]) + (k - (len(counts) - 1) / 2) * wide for race in mine]
        axes.bar(places, [race["ratio"] for race in mine], wide * 0.92, label=_threads(threads))
        ordered = [(place, race) for place, race in zip(places, mine, strict=True) if race["ratio_in_order"]]
        label = "the same, rows in order" if k == 0 else None
        axes.plot([p for p, _ in ordered], [r["ratio_in_order"] for _, r in ordered], "o", c="black", ms=3, label=label)
        for place, race in zip(places, mine, strict=True):
            if race["target"] is not None:
                axes.plot([place - wide / 2.2, place + wide / 2.2], [race["target"]] * 2, c="black", lw=1.5)
    axes.axhline(1, color="grey", linewidth=1)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("fastest peer's median step / fastjac's")
    axes.set_title("Training steps beside the fastest peer (black line: target)")
    axes.legend()


def _draw_steps(axes: Any, found: Found, races: list[Found]) -> None:
    """Of each step's time, what its roof is made of; the rest of the bar's way to 1 is lost."""
    places = range(len(races))
    below = np.zeros(len(races))
    taken = [statistics.median(race["lanes"][OURS]["seconds"]) for race in races]
    for part in PARTS:
        bounds = [found["bounds"][race["workload"]][OURS][part] for race in races]
        shares = np.array(bounds) / taken
        axes.bar(places, shares, 0.7, bottom=below, label=part)
        below += shares
    in_order = [fraction(found, race, IN_ORDER) for race in races]
    axes.plot(places, in_order, "o", color="black", markersize=3, label="rows in order, all")
    for place, race in zip(places, races, strict=True):
        target = WORKLOADS[race["workload"]].of_the_roof
        if target is not None:
            axes.plot([place - 0.35, place + 0.35], [target] * 2, color="black", linewidth=1.5)
    axes.set_xticks(places, [race["workload"] for race in races])
    axes.set_ylim(0, 1)
    axes.set_ylabel("the roof / the time of a step")
    axes.set_title("Training steps as a fraction of their roof, one thread (black line: target)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _draw_products(axes: Any, products: list[Found]) -> None:
    for name in products[0]["rates"]:
        ordered = sorted(products, key=lambda f: f["size"])
        axes.plot([f["size"] for f in ordered], [f["rates"][name] / f["peak"] for f in ordered], "o-", label=name)
    axes.set_xscale("log")
    axes.set_ylim(0, 1)
    axes.set_xlabel("floating-point operations of the product")
    axes.set_ylabel("fraction of the fma peak")
    axes.set_title("Matrix products, float32, one thread")
    axes.legend()


def _save(draw: Callable[[Any], None], path: Path) -> Path:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4))
    draw(axes)
    figure.tight_layout()
    with atomic_file(path) as file:
        figure.savefig(file, dpi=120, format="png")
    pyplot.close(figure)
    return path
