"""What a release consists of: a source distribution and a wheel are built from this checkout and looked into."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import fastjac as fj

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOLDERS = (".ci", "benchmarks", "docs", "examples", "fastjac", "kernels", "tests")
LEFT_BEHIND = shutil.ignore_patterns(
    "__pycache__",
    ".*_cache",
    ".git",
    ".venv",
    ".hypothesis",
    ".benchmarks",
    "build",
    "dist",
    "site",
    "*.egg-info",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The two files of a release, and the folder that the source distribution unpacks to; nothing is fetched."""
    work = tmp_path_factory.mktemp("release")
    shutil.copytree(ROOT, work / "tree", ignore=LEFT_BEHIND)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(work / "dist"), str(work / "tree")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PIP_NO_INDEX": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    source, wheel = sorted((work / "dist").iterdir(), key=lambda path: path.suffix)
    with tarfile.open(source) as archive:
        archive.extractall(work, filter="data")
    return source, wheel, work / f"fastjac-{fj.__version__}"


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        return message_from_string(archive.read(name).decode("utf-8"))


def files(folder):
    return {str(path.relative_to(folder).as_posix()) for path in folder.rglob("*") if path.is_file()}


def test_a_source_distribution_has_what_the_checkout_has(built, tmp_path):
    shutil.copytree(ROOT, tmp_path / "tree", ignore=LEFT_BEHIND)
    wanted = {name for name in files(tmp_path / "tree") if "/" not in name or name.startswith(FOLDERS)}
    # of a checkout alone, or of who works in it
    wanted = {name for name in wanted if not re.search(r"\.py[cod]$|^\.git$|^\.coverage|^uv\.lock$", name)}
    made = {name for name in files(built[2]) if name.startswith("fastjac.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert files(built[2]) - made == wanted
    for name in ("tests/conftest.py", "CHANGELOG.md", "CITATION.cff", "SECURITY.md", "docs/course.md", ".ci/run"):
        assert (built[2] / name).is_file(), name


def test_the_tests_of_a_source_distribution_run_from_it(built):
    # the package that is installed is tested, not the folder
    code = "import sys; sys.path.remove(''); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "-q", "-p", "no:cacheprovider", "tests/data/test_datasets.py"],
        cwd=built[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d\d passed", done.stdout)


def test_a_wheel_has_the_packages_and_their_data_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as archive:
        names = {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}
    inside = {
        "fastjac": ROOT / "fastjac",
        "fastjac/kernels": ROOT / "kernels",
        "fastjac/benchmarks": ROOT / "benchmarks",
    }
    wanted = {
        f"{package}/{name}"
        for package, folder in inside.items()
        for name in files(folder)
        if name.endswith((".py", ".gz", ".typed", ".json")) or name == "data/README.md"
    }
    assert names == wanted
    assert {"fastjac/py.typed", "fastjac/kernels/simd.py", "fastjac/data/digits-images-idx3-ubyte.gz"} <= names


def test_the_version_is_in_one_place(built):
    assert metadata(built[1])["Version"] == fj.__version__
    assert "version" not in PROJECT
    assert not re.search(r"^version:", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    # the changelog begins with it
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert first[1] == fj.__version__


def links(markdown):
    markdown_it = pytest.importorskip("markdown_it")
    tokens = markdown_it.MarkdownIt().parse(markdown)
    children = [child for token in tokens for child in token.children or []]
    return [
        str(child.attrs.get("href") or child.attrs.get("src") or "")
        for child in children
        if child.attrs.get("href") or child.attrs.get("src")
    ]


def test_an_index_shows_the_readme_without_links_that_lead_nowhere(built):
    found = metadata(built[1])
    assert found["Description-Content-Type"] == "text/markdown"
    shown = found.get_payload()
    # the README, but for its links
    words = re.findall(r"\w+", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert re.findall(r"\w+", shown)[: len(words) // 2] == words[: len(words) // 2]
    assert "docs/course.md" in shown
    relative = [link for link in links(shown) if not re.match(r"https?://|mailto:|#", link)]
    assert relative == []


def test_links_of_the_readme_lead_to_the_repository_where_it_has_an_address():
    spec = importlib.util.spec_from_file_location("fastjac_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    readme = "See [it](docs/a.md), ([all](b/c.md)), [there](https://example.org/x) and [here](#below)."
    assert module.for_an_index(readme, "https://example.org/us/") == (
        "See [it](https://example.org/us/blob/HEAD/docs/a.md), ([all](https://example.org/us/blob/HEAD/b/c.md)),"
        " [there](https://example.org/x) and [here](#below)."
    )
    assert module.for_an_index(readme, None).startswith(
        "See it (`docs/a.md`), (all: `b/c.md`), [there](https://example.org/x) and [here](#below).\n"
    )
    whole = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(links(module.for_an_index(whole, "https://example.org/us"))) == len(links(whole))


def requirements(extra):
    """What an extra asks for, with what the extras within it ask for."""
    found = set()
    for one in PROJECT["optional-dependencies"][extra]:
        inner = re.fullmatch(r"fastjac\[(.+)\]", one)
        found |= {each for name in inner[1].split(",") for each in requirements(name)} if inner else {one}
    return found


def test_users_keep_the_versions_that_they_have():
    """Lower bounds only, but for the programs that make the site; and ONNX needs no PyTorch."""
    for extra in PROJECT["optional-dependencies"]:
        for one in requirements(extra) - {"tomli>=2; python_version<'3.11'"}:
            assert re.fullmatch(r"[\w\-\[\]]+>=[\d.]+" + (r"(,<\d+)?" if extra == "docs" else ""), one), (extra, one)
    assert all(re.fullmatch(r"\w+>=[\d.]+", one) for one in PROJECT["dependencies"])
    named = {
        extra: {re.match(r"[\w\-]+", one)[0] for one in requirements(extra)}
        for extra in PROJECT["optional-dependencies"]
    }
    assert named["onnx"] == {"onnx"}
    assert named["exchange"] == {"onnx", "torch"}
    assert "torch" not in named["test"]  # .ci/run installs it, for CPUs alone


def test_the_table_of_supported_versions_is_what_the_package_asks_for():
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    table = page[page.index("## Supported versions") :].split("\n## ")[0]
    shown = {
        (name.lower(), bound, what)
        for name, bound, what in re.findall(r"^\| ([\w-]+) \| ([\d.]+) \| (?:`(\w+)`|everything)", table, re.MULTILINE)
    }
    asked = {tuple(one.split(">=")) for one in PROJECT["dependencies"]} | {
        ("python", PROJECT["requires-python"].removeprefix(">="))
    }
    wanted = {(name, bound, "") for name, bound in asked}
    for extra in ("estimators", "files", "tables", "cli", "plots", "onnx", "torch"):
        wanted |= {(*one.split(">="), extra) for one in requirements(extra)}
    assert shown == wanted
    bound = dict(one.split(">=") for one in requirements("estimators"))["scikit-learn"]
    for place in ("docs/guides/estimators.md", "fastjac/estimators/__init__.py"):
        assert f"scikit-learn {bound} or newer" in (ROOT / place).read_text(encoding="utf-8"), place


def test_a_citation_has_what_the_format_asks_for():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    keys = re.findall(r"^([\w-]+):", text, re.MULTILINE)
    assert {"cff-version", "message", "title", "authors"} <= set(keys) and len(keys) == len(set(keys))
    assert f"license: {PROJECT['license']}\n" in text
    assert f"- name: {PROJECT['authors'][0]['name']}\n" in text
