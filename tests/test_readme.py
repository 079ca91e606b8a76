"""Every Python block of the README runs, in order, as a reader would type them."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_python_blocks_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    session: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), session)
    assert session["history"]["val_accuracy"][-1] > 0.9
    assert "reference" in capsys.readouterr().out


def test_there_are_exactly_two_commands():
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert [len(block.strip().splitlines()) for block in blocks] == [1, 1]


def test_the_projects_check_calls_the_readmes_test_command():
    command = re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1].strip()
    assert command in (README.parent / ".ci" / "run").read_text(encoding="utf-8")
