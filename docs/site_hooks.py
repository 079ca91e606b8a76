"""What mkdocs does for this site besides its plugins: formulas as MathML, and docstrings as they are written here.

Formulas are written as GitHub takes them, in ```math fences and between $` and `$. Browsers show MathML by themselves,
so the pages need no script for it, neither their own nor one from the network.
"""

import inspect
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import griffe
from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = tempfile.TemporaryDirectory(prefix="fastjac-docs-")
REPOSITORY_LINK = re.compile(r"\[([^\]]+)\]\(\.\./(?:tests|benchmarks)/[^)]*\)")
SEVERAL_NAMES = re.compile(r"^( +)([a-z]\w*(?:, [a-z]\w*)+)(?=:)", re.MULTILINE | re.IGNORECASE)
RETURNS = re.compile(r"^Returns:\n( +)", re.MULTILINE)
DOCTEST = re.compile(r"^(>>> .*(?:\n(?!\s*$).*)*)", re.MULTILINE)


class _InlineFormula(InlineProcessor):
    def handleMatch(self, match: re.Match[str], data: str) -> tuple[str | Element, int, int]:
        return self.md.htmlStash.store(convert(match[1])), match.start(), match.end()


class Formulas(Extension):
    """Formulas within a line; a higher priority than that of `code`."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.inlinePatterns.register(_InlineFormula(r"\$`([^`]+)`\$", md), "formula", 200)


def _formula(source: str, language: str, css_class: str, options: Any, md: Markdown, **others: Any) -> str:
    return f'<div class="{css_class}">{convert(source, display="block")}</div>'


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the two ways to write a formula, and show mkdocstrings the packages as they are installed."""
    for source, package in (("fastjac", "fastjac"), ("kernels", "fastjac/kernels")):
        ignore = shutil.ignore_patterns("__pycache__", "*.gz")
        shutil.copytree(ROOT / source, Path(INSTALLED.name, package), ignore=ignore, dirs_exist_ok=True)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [INSTALLED.name]
    config.markdown_extensions.append(Formulas())
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "formula", "format": _formula})
    return config


def on_page_markdown(markdown: str, **others: Any) -> str:
    """Links to tests lead out of the site: their text stays."""
    return REPOSITORY_LINK.sub(r"\1", markdown)


class Docstrings(griffe.Extension):
    """Examples as code, and several names before one text."""

    def on_object(self, *, obj: griffe.Object, **others: Any) -> None:
        if obj.docstring is None:
            return
        text = inspect.cleandoc(obj.docstring.value)
        # "weight, bias: …" tells of two at once: to the parser it is one name if the space is not a plain one
        text = SEVERAL_NAMES.sub(lambda m: m[1] + m[2].replace(", ", ",\u00a0"), text)
        if isinstance(obj, griffe.Function) and obj.returns is not None:
            # what stands before a colon would be taken for the type
            text = RETURNS.sub(lambda m: f"Returns:\n{m[1]}{obj.returns}: ", text)
        obj.docstring.value = DOCTEST.sub(r"```pycon\n\1\n```", text)
