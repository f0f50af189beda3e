"""The README's programs run as pasted, and print what it says."""

import codeop
import pathlib
import re
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

import gdtrain

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
FIRST_PICTURE = ROOT / "examples" / "pictures" / "line.png"

# What follows the last block, which defines a class and does no more
TRAINS = """
inputs = keras.Input([1])
network = Network(inputs, keras.layers.Dense(1)(inputs))
network.compile(gdtrain.GradientDescent(0.1), "mse")
history = network.fit(tf.ones([4, 1]), tf.ones([4, 1]), epochs=3, verbose=0)
print(*history.history["loss"])
"""
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
    for place, code in enumerate([*PYTHON, TRAINS]):
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
    assert len(PYTHON) == 7 and any(expected)
    assert printed[:-1] == expected
    assert list(folder.glob("output/logs/events*"))


def test_step_of_the_readme_trains(pasted):
    losses = [float(loss) for loss in pasted[1][-1].split()]
    assert losses[0] > losses[1] > losses[2] > 0


def test_first_picture_is_of_the_first_block(pasted, tmp_path):
    folder, printed = pasted
    found, *_ = re.findall(r"y = .* x .*", printed[0])
    assert f", {found}](examples/pictures/line.png)" in README
    shown = _small(FIRST_PICTURE)
    # Text moves a little with the version of Matplotlib.
    assert np.abs(_small(folder / "line.png") - shown).mean() < 0.004
    x = np.linspace(0, 2, 100)
    y = 0.1 * x + 0.5 + np.random.default_rng(0).normal(0, 0.02, 100)
    picture = gdtrain.plots.FittedLine(x, y)
    other = picture.draw(np.linspace(0.45, 0.6, 200))
    other.savefig(tmp_path / "other.png", dpi=150)
    assert np.abs(_small(tmp_path / "other.png") - shown).mean() > 0.008


def _small(path):
    """A picture in grey, each number a mean over 10 x 10 pixels."""
    grey = matplotlib.image.imread(path)[..., :3].mean(-1)
    rows, columns = (10 * (side // 10) for side in grey.shape)
    tiles = grey[:rows, :columns].reshape(rows // 10, 10, columns // 10, 10)
    return tiles.mean((1, 3))


@pytest.mark.parametrize("code", PYTHON)
def test_block_can_be_pasted_into_the_interactive_interpreter(code):
    """Line by line: there, a blank line ends a class or a function."""
    pending: list[str] = []
    for line in [*code.splitlines(), ""]:
        pending.append(line)
        if codeop.compile_command("\n".join(pending)) is not None:
            pending = []
    assert pending == []


def test_readme_is_short_and_its_pictures_exist():
    assert len(README.splitlines()) <= 300
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert len(pictures) == 8
    for picture in pictures:
        assert (ROOT / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("which", ["example", "test"])
def test_readme_marks_its_commands(which):
    """`.ci/run` runs what follows the mark."""
    mark = f"<!-- {which} command -->\n```bash\n"
    assert README.count(mark) == 1
    command = README.split(mark)[1].split("\n```")[0]
    assert "\n" not in command and command.startswith("python3 -m venv")
