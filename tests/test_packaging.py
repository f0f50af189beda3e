"""What is built and installed, and that it is found from every folder."""

import configparser
import email
import fnmatch
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import gdtrain

ROOT = pathlib.Path(__file__).parents[1]
SETTINGS = ["pyproject.toml", "setup.cfg", "setup.py"]
FOLDERS = [".ci", ".github", "docs", "examples", "gdtrain", "tests"]
FILES = [*SETTINGS, ".gitignore", "LICENSE", "MANIFEST.in"]
MODULE = '__version__ = "0"\nModel = "the model"\n'
README = """\
[![a badge](https://some.where/badge.svg)](LICENSE) ![what it is](a/b.png)
<img src="a/c.svg"> [below](#below) [elsewhere](https://some.where/else)

```python
functions[0](x)
```
"""
# As in a clean environment for builds, where setuptools is alone
BUILD = """
import sys
sys.modules.update(dict.fromkeys(["keras", "numpy", "tensorflow"]))
from setuptools import build_meta
print(build_meta.{})
"""


def build(source, what):
    """Calls a hook of the build backend in a folder; what it returns."""
    result = subprocess.run(
        [sys.executable, "-c", BUILD.format(what)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def files_in(folder):
    """All files in a folder, as paths from there."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what the repository has, without what git ignores."""
    folder = tmp_path_factory.mktemp("source")
    lines = (ROOT / ".gitignore").read_text().split()
    ignored = [line.strip("/").rpartition("/")[2] for line in lines]
    for part in FOLDERS:
        leave_out = shutil.ignore_patterns(*ignored)
        shutil.copytree(ROOT / part, folder / part, ignore=leave_out)
    for path in ROOT.iterdir():
        if path.name in FILES or path.suffix == ".md":
            shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def unpacked(source, tmp_path_factory):
    """Which files it was built from, and the source distribution, unpacked."""
    files = files_in(source)
    folder = tmp_path_factory.mktemp("sdist")
    name = build(source, f"build_sdist({str(folder)!r})")
    with tarfile.open(folder / name) as archive:
        archive.extractall(folder, filter="data")
    return files, folder / name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(unpacked, tmp_path_factory):
    """The wheel that the source distribution is built into."""
    folder = tmp_path_factory.mktemp("wheel")
    return folder / build(unpacked[1], f"build_wheel({str(folder)!r})")


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_source_distribution_has_what_the_repository_has(unpacked):
    files, folder = unpacked
    made = {"PKG-INFO", *fnmatch.filter(files_in(folder), "*.egg-info/*")}
    assert files_in(folder) - made == files


def test_wheel_has_each_file_of_the_package(unpacked, wheel):
    """`py.typed` too: without it editors ignore the annotations."""
    files = {name for name in unpacked[0] if name.startswith("gdtrain/")}
    packed = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert packed == files
    assert {"gdtrain/py.typed", "gdtrain/images/report.css"} <= files


def test_wheel_is_the_same_from_the_source_distribution(source, wheel):
    build(source, "build_wheel('again')")
    assert contents(source / "again" / wheel.name) == contents(wheel)


def test_installed_wheel_works(wheel, tmp_path):
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"]
    alone = ["--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run([*pip, *alone], check=True)
    code = """
import importlib.metadata, pathlib, runpy, sys
import gdtrain
print(pathlib.Path(gdtrain.__file__).parents[1])
print(importlib.metadata.version("gdtrain") == gdtrain.__version__)
from gdtrain.images import report_page
print("{" in report_page._STYLE.read_text())
sys.argv = ["gdtrain", "--help"]
runpy.run_module("gdtrain", run_name="__main__")
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    place, *facts, usage = result.stdout.splitlines()[:4]
    assert place == str(site), result.stderr
    assert facts == ["True", "True"], result.stderr
    assert usage.startswith("usage: python -m gdtrain")


def test_version_is_the_same_everywhere(unpacked, wheel):
    settings = (ROOT / "docs" / "conf.py").read_text()
    assert "\nrelease = gdtrain.__version__\n" in settings
    assert wheel.name.split("-")[1] == gdtrain.__version__
    metadata = (unpacked[1] / "PKG-INFO").read_text()
    version = email.message_from_string(metadata)["Version"]
    assert version == gdtrain.__version__


def test_changelog_has_a_section_of_the_version():
    """What is not released yet is under Unreleased."""
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## (\S+)", text, re.MULTILINE)
    assert len(sections) == len(set(sections))
    is_released = ".dev" not in gdtrain.__version__
    version = gdtrain.__version__ if is_released else "Unreleased"
    assert sections[0] == version


def test_links_of_the_readme_work_on_a_package_index(tmp_path):
    for name in ["LICENSE", *SETTINGS]:
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "gdtrain").mkdir()
    (tmp_path / "gdtrain" / "__init__.py").write_text(MODULE)
    (tmp_path / "README.md").write_text(README)
    build(tmp_path, "prepare_metadata_for_build_wheel('.')")
    (path,) = tmp_path.glob("*.dist-info/METADATA")
    metadata = email.message_from_string(path.read_text())
    (source,) = (
        address.removeprefix("Source, ")
        for address in metadata.get_all("Project-URL")
        if address.startswith("Source, ")
    )
    shown = (
        README.replace("](LICENSE", f"]({source}/blob/v0/LICENSE")
        .replace("](a/b.png", f"]({source}/raw/v0/a/b.png")
        .replace('src="a/c.svg', f'src="{source}/raw/v0/a/c.svg')
    )
    assert shown.count(source) == 3
    assert metadata.get_payload().strip() == shown.strip()


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
    for name in ["LICENSE", "README.md", *SETTINGS]:
        shutil.copy(ROOT / name, clone)
    site = tmp_path_factory.mktemp("site")
    wheel = build(clone, f"build_editable({str(site)!r})")
    with zipfile.ZipFile(site / wheel) as archive:
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
