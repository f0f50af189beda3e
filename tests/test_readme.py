"""The README's programs run as pasted, and print what it says."""

import codeop
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
RUNNER = """
import pathlib, sys
for path in sys.argv[1:]:
    code = compile(pathlib.Path(path).read_text(), path, "exec")
    exec(code, globals().setdefault("pasted", {"__name__": "__main__"}))
    print(end="\\0")
"""


@pytest.fixture(scope="module")
def pasted(tmp_path_factory):
    """The folder of a fresh interpreter, and what each block printed."""
    folder = tmp_path_factory.mktemp("readme")
    names = []
    for place, code in enumerate(PYTHON):
        names.append(f"block-{place}.py")
        (folder / names[-1]).write_text(code)
    result = subprocess.run(
        [sys.executable, "-c", RUNNER, *names],
        cwd=folder,
        env={"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return folder, result.stdout.split("\0")[:-1]


def test_blocks_print_what_the_readme_says(pasted):
    folder, printed = pasted
    expected = [
        output if (language, then) == ("python", "text") else ""
        for (language, _), (then, output) in zip(
            BLOCKS, [*BLOCKS[1:], ("", "")], strict=True
        )
        if language == "python"
    ]
    assert len(PYTHON) == 2 and any(expected)
    assert printed == expected
    assert list(folder.glob("output/logs/events*"))
    assert list(folder.glob("output/backup/*"))


@pytest.mark.parametrize("code", PYTHON)
def test_block_can_be_pasted_into_the_interactive_interpreter(code):
    """Line by line: there, a blank line ends a class or a function."""
    pending: list[str] = []
    for line in [*code.splitlines(), ""]:
        pending.append(line)
        if codeop.compile_command("\n".join(pending)) is not None:
            pending = []
    assert pending == []


def test_readme_is_short_and_has_a_picture():
    assert len(README.splitlines()) <= 150
    [picture] = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert (ROOT / picture).read_bytes().startswith(b"GIF89a")


def test_titles_of_the_picture_are_what_the_readme_says():
    """`tests/examples/test_animation.py` has its verdicts."""
    [title] = re.findall(r"!\[([^]]+)\]", README)
    limit = 0.2013
    rates = [f"{share * limit:.2g}" for share in (0.01, 0.5, 1.03)]
    assert re.findall(r"[0-9.]+[0-9]", title) == rates


@pytest.mark.parametrize("which", ["example", "test"])
def test_readme_marks_its_commands(which):
    """`.ci/run` runs what follows the mark."""
    mark = f"<!-- {which} command -->\n```bash\n"
    assert README.count(mark) == 1
    command = README.split(mark)[1].split("\n```")[0]
    assert "\n" not in command and command.startswith("python3 -m venv")
