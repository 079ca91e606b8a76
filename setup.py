"""What pyproject.toml has no words for: the README as an index shows it, where paths into the project lead nowhere."""

import re
import sys
from pathlib import Path

from setuptools import setup

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?!https?:|mailto:|#)(?P<path>[^)]+)\)")


def for_an_index(readme: str, source: str | None) -> str:
    """Relative links led to ``source``, the repository's address, or written out as paths where it has none."""
    if source is not None:
        return LINK.sub(rf"[\g<text>]({source.rstrip('/')}/blob/HEAD/\g<path>)", readme)
    readme = re.sub(rf"\({LINK.pattern}\)", r"(\g<text>: `\g<path>`)", readme)
    return LINK.sub(r"\g<text> (`\g<path>`)", readme) + "\nThe paths named here are those of the source distribution.\n"


if __name__ == "__main__":
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    setup(
        long_description=for_an_index(
            (HERE / "README.md").read_text(encoding="utf-8"), project.get("urls", {}).get("Source")
        ),
        long_description_content_type="text/markdown",
    )
