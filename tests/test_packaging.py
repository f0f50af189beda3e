"""What is installed, and that it is found from every folder."""

import configparser
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FILES = ["LICENSE", "README.md", "pyproject.toml", "setup.cfg"]
MODULE = '__version__ = "0"\nModel = "the model"\n'


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with a clone in it, and one with its editable install.

    The clone has the project's own settings, and a package of one line: to
    import TensorFlow is not the point.
    """
    folder = tmp_path_factory.mktemp("beside")
    clone = folder / "gdtrain"
    for part in ("gdtrain", "tests", "examples"):
        (clone / part).mkdir(parents=True)
    (clone / "gdtrain" / "__init__.py").write_text(MODULE)
    for name in FILES:
        shutil.copy(ROOT / name, clone)
    site = tmp_path_factory.mktemp("site")
    code = "from setuptools import build_meta as b; b.build_editable({!r})"
    subprocess.run(
        [sys.executable, "-c", code.format(str(site))],
        cwd=clone,
        check=True,
        capture_output=True,
    )
    (wheel,) = site.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return folder, site


@pytest.mark.parametrize("where", [".", "gdtrain", "gdtrain/examples"])
def test_package_is_found_beside_its_clone_and_inside(installed, where):
    folder, site = installed
    code = f"""
import site
site.addsitedir({str(site)!r})
import gdtrain
print(gdtrain.Model)
"""
    environment = {**os.environ, "PYTHONPATH": ""}
    # Without `-S`, the install that these tests run in would be found first.
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=folder / where,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "the model\n", result.stderr


def test_wheel_says_that_it_is_annotated(tmp_path):
    """`py.typed`: without it mypy and editors ignore the annotations."""
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    package = tmp_path / "gdtrain"
    package.mkdir()
    (package / "__init__.py").write_text(MODULE)
    shutil.copy(ROOT / "gdtrain" / "py.typed", package)
    code = "from setuptools import build_meta as b; b.build_wheel('dist')"
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "gdtrain/py.typed" in archive.namelist()


def test_each_extra_that_is_advised_is_there():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    extras = settings["options.extras_require"]
    assert set(extras) == {
        "docs",
        "examples",
        "images",
        "plots",
        "ray",
        "test",
    }
    assert set(extras["ray"].split()) <= set(extras["test"].split())
    for part in ("images", "plots"):
        for name in ("docs", "examples", "test"):
            assert set(extras[part].split()) <= set(extras[name].split())
