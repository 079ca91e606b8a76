"""What pytest-benchmark's table does not show: how near to the roof each kernel comes."""

from __future__ import annotations

from typing import Any

from fastjac.support import report


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """A row for each operation, shape and type: medians of the ways to compute it, and the roof."""
    session = getattr(config, "_benchmarksession", None)
    groups: dict[str, dict[str, Any]] = {}
    for one in getattr(session, "benchmarks", []):
        if one.stats.rounds and "path" in one.extra_info:
            groups.setdefault(one.group, {})[one.extra_info["path"]] = one
    rows = []
    for group, ways in groups.items():
        ours = ways.pop("fused", None) or ways.pop("fastjac", None)
        if ours is None:
            continue
        mine = ours.stats.median
        others = [f"{name} {one.stats.median / mine:,.1f} times as long" for name, one in ways.items()]
        share = ours.extra_info.get("share")
        of_the_roof = "–" if share is None else f"{share:.0%} of the {ours.extra_info['roof']}"
        rows.append([group, f"{mine * 1e6:,.2f} µs", ", ".join(others) or "–", of_the_roof])
    if rows:
        title = "Kernels, called from Python with all checks"
        terminalreporter.write_line("")
        terminalreporter.write_line(report.table(title, ["", "Median", "Beside it", "Roof"], rows))
