"""What README.md and the pages in docs/ tell a reader to type runs and prints what they show; the site is built."""

import doctest
import importlib.util
import inspect
import os
import re
import shlex
import subprocess
import sys
import types
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fastjac import cli

markdown_it = pytest.importorskip("markdown_it", reason="needs rich, of fastjac[cli], which brings it")

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = sorted([README, *(ROOT / "docs").rglob("*.md")])
NOT_RUN = re.compile(r"<!-- not run: \S.* -->")
NEEDS = re.compile(r"<!-- needs: ([\w. ]+) -->")
LANGUAGES = {"python", "sh", "text", "math", "mermaid"}


def tokens(page):
    return markdown_it.MarkdownIt().parse(page.read_text(encoding="utf-8"))


def blocks(page):
    """The page's fenced blocks: line, language, content, the comment right above, and the output shown right below."""
    found = tokens(page)
    for before, token, after in zip([None, *found], found, [*found[1:], None], strict=False):
        if token.type == "fence":
            note = before.content.strip() if before is not None and before.type == "html_block" else ""
            shown = after.content if after is not None and after.type == "fence" and after.info == "text" else None
            yield token.map[0] + 1, token.info.strip(), token.content, note, shown


def run_python(source, page, line, session):
    """The block, at its own line of the page, so that a traceback points there."""
    exec(compile("\n" * line + source, str(page), "exec"), session)


def run_commands(source):
    """Each `fastjac …` as a program would run it."""
    for command in source.replace("\\\n", " ").strip().splitlines():
        words = shlex.split(command, comments=True)
        assert words[0] == "fastjac", f"{command!r} is no call of fastjac: mark the block as <!-- not run: reason -->"
        with pytest.raises(SystemExit) as ended:
            cli.run(words[1:])
        assert ended.value.code == 0, command


def assert_same_output(shown, printed):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    checker = doctest.OutputChecker()
    example = doctest.Example("", shown)
    assert checker.check_output(shown, printed, flags), checker.output_difference(example, printed, flags)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_runs(page, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # for what asks where a class was defined
    for line, language, content, note, shown in blocks(page):
        if NOT_RUN.fullmatch(note) or language not in ("python", "sh"):
            continue
        if needs := NEEDS.fullmatch(note):
            missing = [name for name in needs[1].split() if importlib.util.find_spec(name) is None]
            if missing:
                pytest.skip(f"line {line} and what follows need {', '.join(missing)}")
        capsys.readouterr()
        if language == "python":
            run_python(content, page, line, vars(module))
        else:
            run_commands(content)
        if shown is not None:
            assert_same_output(shown, capsys.readouterr().out)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_only_commands_that_set_up_a_machine_are_not_run(page):
    for line, language, content, note, _ in blocks(page):
        assert language in LANGUAGES, f"line {line}: {language!r} is neither run nor output"
        if NOT_RUN.fullmatch(note):
            assert language == "sh", line
            assert re.search(r"\bpip install\b|-m (venv|mkdocs|pytest)\b|benchmarks/|^fastjac bench\b", content), line


def test_blocks_are_found_with_their_notes_and_outputs(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- needs: a b -->\n```python\nprint(1)\n```\n```text\n1\n```\n\nwords\n\n```sh\nfastjac\n```\n")
    assert list(blocks(page)) == [
        (2, "python", "print(1)\n", "<!-- needs: a b -->", "1\n"),
        (5, "text", "1\n", "", None),
        (11, "sh", "fastjac\n", "", None),
    ]
    with pytest.raises(AssertionError, match="Expected"):
        assert_same_output("1\n", "2\n")


# --- the README ---------------------------------------------------------------------------------------------------


def readme_commands():
    return [content.strip() for _, language, content, _, _ in blocks(README) if language == "sh"]


def test_there_are_exactly_two_commands():
    assert [len(command.splitlines()) for command in readme_commands()] == [1, 1]


def test_the_projects_check_calls_the_readmes_test_command():
    assert readme_commands()[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_links_to_files_lead_somewhere():
    for page in PAGES:
        for token in tokens(page):
            for child in token.children or []:
                target = (child.attrs.get("href") or child.attrs.get("src") or "").partition("#")[0]
                if target and "://" not in target:
                    assert (page.parent / target).exists(), (page.name, target)


# --- the site -----------------------------------------------------------------------------------------------------


class Loads(HTMLParser):
    """What a page makes a browser load by itself."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.text = page.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.found.append(values.get("href"))
        elif tag != "a":
            self.found.extend(values[name] for name in ("src", "srcset", "data", "poster") if values.get(name))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for name in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(name, reason=f"{name} comes with fastjac[docs]")
    folder = tmp_path_factory.mktemp("site")
    # a proxy that does not answer: a build that asks the network fails
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("package", ["fastjac", "fastjac.jacobians", "fastjac.kernels"])
def test_the_reference_shows_every_public_name(site, package):
    module = importlib.import_module(package)
    shown = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").rglob("*.html"))
    for name in dir(module):
        thing = getattr(module, name)
        ours = getattr(thing, "__module__", "").startswith("fastjac")  # unlike what a file imports, such as Any
        if ours and not name.startswith("_") and (isinstance(thing, type) or inspect.isfunction(thing)):
            places = (f'id="{package}.{name}"', f'id="{thing.__module__}.{name}"')
            assert any(place in shown for place in places), f"{package}.{name} is on no page of docs/reference"


def test_pages_load_nothing_from_the_network(site):
    pages, sheets = list(site.rglob("*.html")), list(site.rglob("*.css"))
    assert len(pages) > 15 and sheets
    for page in pages:
        loads = Loads(page)
        assert loads.found, page
        outside = [target for target in loads.found if re.match(r"(https?:)?//", target)]
        assert not outside, (page, outside)
        # the theme's own script would fetch a library for these
        assert 'class="mermaid"' not in loads.text and 'data-md-component="source"' not in loads.text, page
        for style in re.findall(r"<style[^>]*>(.*?)</style>", loads.text, re.DOTALL):
            assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style), page
    for sheet in sheets:
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_formulas_are_mathml(site):
    text = (site / "course" / "index.html").read_text(encoding="utf-8")
    assert text.count("<math") >= 60
    assert "$<code>" not in text and "language-math" not in text and "\\frac" not in re.sub(r"<pre.*?</pre>", "", text)


def test_the_readme_has_the_results_that_were_measured():
    excerpt = (ROOT / "docs" / "results" / "readme.md").read_text(encoding="utf-8")
    assert f"<!-- results -->\n{excerpt}<!-- end of results -->" in README.read_text(encoding="utf-8")
