"""``fastjac bench``: measure, print tables, and write JSON, Markdown and pictures on request."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

import click
from fastjac.benchmarks import bounds, feel, fits, machine, pages, products, race, roof
from fastjac.benchmarks.peers import PEERS
from fastjac.benchmarks.workloads import WORKLOADS

from fastjac.support.atomic import atomic_file
from fastjac.support.cores import default_threads

PARTS = ("roof", "kernels", "steps", "fits", "feel")


def _chosen(kind: str, given: str | None, known: Collection[str]) -> list[str]:
    names = list(known) if given is None else [word.strip() for word in given.split(",") if word.strip()]
    for name in names:
        if name not in known:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(known)}", param_hint=f"--{kind}")
    return names


@click.command()
@click.option("--only", help=f"Parts, as steps,feel: of {', '.join(PARTS)}.")
@click.option("--workloads", help=f"Networks, of {', '.join(WORKLOADS)}.")
@click.option("--peers", help=f"Peers, of {', '.join(list(PEERS)[1:])}.  [those that are installed]")
@click.option("--threads", help="Numbers of threads, as 1,2.  [1 and all cores]")
@click.option("--quick", is_flag=True, help="Some minutes instead of half an hour: fewer and shorter rounds.")
@click.option("--json", "as_json", is_flag=True, help="Print numbers instead of tables.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder for a page, an excerpt for a README, results.json and pictures.",
)
@click.option(
    "--readme",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file to put the excerpt into, between its two marks.",
)
def bench(
    only: str | None,
    workloads: str | None,
    peers: str | None,
    threads: str | None,
    quick: bool,
    as_json: bool,
    output: Path | None,
    readme: Path | None,
) -> None:
    """Measure kernels against the machine's roof, and training steps against installed peers.

    Leave the machine alone while it runs: what else computes is in the figures.
    """
    parts = _chosen("only", only, PARTS)
    names = _chosen("workloads", workloads, WORKLOADS)
    here, absent = race.installed(None if peers is None else _chosen("peers", peers, list(PEERS)))
    try:
        counts = sorted({int(word) for word in threads.split(",")} if threads else {1, default_threads()})
    except ValueError:
        counts = [0]
    if counts[0] < 1:
        raise click.BadParameter(
            f"{threads!r} is not a list of positive whole numbers, such as 1,2", param_hint="--threads"
        )
    rounds, seconds = (3, 0.03) if quick else (9, 0.15)

    def say(what: str) -> None:
        click.echo(what, err=True)

    found: pages.Found = {"machine": machine.describe(), "absent": absent}
    try:
        if "roof" in parts:
            say("roof")
            measured_roof = roof.measure(default_threads())
            found["roof"] = asdict(measured_roof)
        if "kernels" in parts:
            say("products and functions")
            measured = products.measure_apart(rounds, seconds / 3, 8 if quick else 40)
            found |= {kind: [asdict(figure) for figure in figures] for kind, figures in measured.items()}
        if "steps" in parts:
            found["races"] = [
                one.as_json() for count in counts for one in race.run(count, rounds, seconds, names, here, say)
            ]
            if "roof" in parts:
                found["bounds"] = {
                    name: {
                        lane: bounds.parts(WORKLOADS[name], measured_roof, lane == race.OURS)
                        for lane in (race.OURS, race.IN_ORDER)
                    }
                    for name in names
                }
        if "fits" in parts:
            found["fits"] = [asdict(one) for one in fits.measure(3 if quick else 7, say)]
        if "feel" in parts:
            found["feelings"] = [asdict(one) for one in feel.measure(2 if quick else 5, say)]
    except subprocess.CalledProcessError as error:
        raise click.ClickException(f"a measured process failed: {error.stderr.strip()[-300:]}") from error
    click.echo(json.dumps(found, indent=1) if as_json else pages.text(found))
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        _write(output / "results.json", json.dumps(found, indent=1) + "\n")
        given = {"workloads": workloads, "peers": peers, "threads": threads}
        options = "".join(f" --{name} {shlex.quote(value)}" for name, value in given.items() if value is not None)
        _write(output / "index.md", pages.markdown(found, options + (" --quick" if quick else ""), only))
        _write(output / "readme.md", pages.excerpt(found))
        pages.pictures(found, output, say)
        say(f"written to {output}")
    if readme is not None:
        text = readme.read_text(encoding="utf-8")
        _write(readme, pages.between_marks(text, pages.excerpt(found)))


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        file.write(text.encode())


if __name__ == "__main__":
    bench()
