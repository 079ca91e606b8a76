"""The figures as tables, Markdown and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastjac import report

Table = tuple[str, list[str], list[list[str]]]  # title, columns, rows


def _microseconds(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    middle = ordered[len(ordered) // 2]
    spread = (ordered[-1] - ordered[0]) / 2 / middle
    return f"{middle * 1e6:,.1f} ±{spread:.0%}"


def _verdict(value: float | None, target: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if target is None else f"{value:.2f} ({'≥' if value >= target else '<'} {target:g})"


def tables(found: dict[str, Any]) -> list[Table]:
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
        columns += ["Of the peak"] if part != "functions" else ["Numbers"]
        rows = []
        for figure in found[part]:
            rates = [f"{figure['rates'][name] / 1e9:,.2f}" for name in names]
            if part == "functions":
                last = f"{figure['size']:,}"
            else:
                last = _verdict(figure["rates"]["fastjac"] / figure["peak"], figure["target"])
            rows.append([figure["name"], figure["dtype"], *rates, last])
        result.append((title, columns, rows))
    for threads in sorted({race["threads"] for race in found.get("races", [])}):
        races = [race for race in found["races"] if race["threads"] == threads]
        peers = list(races[0]["lanes"])
        rows = []
        for race in races:
            lanes = race["lanes"]
            rows.append([
                f"{race['workload']}: {race['mode']}",
                *(_microseconds(lanes[p]["seconds"]) if lanes[p]["seconds"] else "–" for p in peers),
                _verdict(race["ratio"], race["target"]),
            ])  # fmt: skip
        columns = ["µs a step or call", *peers, "Fastest peer / fastjac"]
        result.append((f"Beside peers, {threads} thread{'s' if threads > 1 else ''}", columns, rows))
    if "feelings" in found:
        names = list(dict.fromkeys(name for feeling in found["feelings"] for name in feeling["values"]))
        rows = []
        for feeling in found["feelings"]:
            values = {name: sorted(v)[len(v) // 2] for name, v in feeling["values"].items()}
            cells = [f"{values[name]:,.2f} {feeling['unit']}" if name in values else "–" for name in names]
            rows.append([feeling["name"], *cells, feeling["target"] or "–"])
        result.append(("What a user feels", ["", *names, "Target"], rows))
    return result


def errors(found: dict[str, Any]) -> list[str]:
    """Why peers are missing from races."""
    lines = [f"{name} is not installed" for name in found.get("absent", [])]
    for race in found.get("races", []):
        lines += [
            f"{race['workload']}, {race['mode']}: {name}: {lane['error']}"
            for name, lane in race["lanes"].items()
            if lane["error"] and lane["error"] != "has no such way"
        ]
    return list(dict.fromkeys(lines))


def text(found: dict[str, Any]) -> str:
    """For a terminal."""
    parts = [report.table(title, columns, rows) for title, columns, rows in tables(found)]
    return "\n\n".join([*parts, *errors(found)])


def markdown(found: dict[str, Any], command: str, notes: str = "") -> str:
    """For a page."""
    lines = ["# Benchmark results", "", "Measured on:", ""]
    lines += [f"- {name}: {value}" for name, value in found["machine"].items()]
    lines += ["", f"Made by `{command}`. Medians of interleaved rounds, ± half of the range.", ""]
    if notes:
        lines += [notes.strip(), ""]
    for title, columns, rows in tables(found):
        lines += [f"## {title}", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines.append("")
    missing = errors(found)
    if missing:
        lines += ["Left out:", "", *(f"- {line}" for line in missing), ""]
    return "\n".join(lines)


def pictures(found: dict[str, Any], folder: Path, say: Callable[[str], None]) -> list[Path]:
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
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
