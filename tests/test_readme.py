"""The README's programs run, and print what it says."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def test_python_blocks_run_and_print_what_the_readme_says(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec("import tensorflow as tf", names)
    followed_by = [*BLOCKS[1:], ("", "")]
    ran = 0
    for (language, code), (then, output) in zip(
        BLOCKS, followed_by, strict=True
    ):
        if language != "python":
            continue
        exec(compile(code, "README.md", "exec"), names)
        printed = capsys.readouterr().out
        assert printed == (output if then == "text" else "")
        ran += 1
    assert ran == 6
    assert list(tmp_path.glob("output/logs/train/events*"))


def test_step_of_the_readme_trains():
    names: dict = {}
    exec("import gdtrain, keras, tensorflow as tf", names)
    (code,) = [code for _, code in BLOCKS if "class Network" in code]
    exec(code, names)
    exec(
        """
inputs = keras.Input([1])
network = Network(inputs, keras.layers.Dense(1)(inputs))
network.compile(gdtrain.GradientDescent(0.1), "mse")
history = network.fit(tf.ones([4, 1]), tf.ones([4, 1]), epochs=3, verbose=0)
""",
        names,
    )
    losses = names["history"].history["loss"]
    assert losses[0] > losses[1] > losses[2] > 0


def test_readme_is_short_and_its_pictures_exist():
    assert len(README.splitlines()) <= 300
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert len(pictures) == 6
    for picture in pictures:
        assert (ROOT / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("which", ["example", "test"])
def test_readme_marks_its_commands(which):
    """`.ci/run` runs what follows the mark."""
    mark = f"<!-- {which} command -->\n```bash\n"
    assert README.count(mark) == 1
    command = README.split(mark)[1].split("\n```")[0]
    assert "\n" not in command and command.startswith("python3 -m venv")
