"""The workflow does what CONTRIBUTING.md says, with files that exist."""

import os
import pathlib
import re

import pytest

yaml = pytest.importorskip("yaml")

ROOT = pathlib.Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "checks.yml"
JOBS = yaml.safe_load(WORKFLOW.read_text())["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
COMMANDS = [step["run"] for step in STEPS if "run" in step]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_one_of_contributing(command):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [
        line.partition("  #")[0].strip()
        for block in blocks
        for line in block.splitlines()
    ]
    assert command in lines
    if command.startswith(".ci/"):
        assert os.access(ROOT / command, os.X_OK)


def test_all_checks_come_before_publishing():
    others = set(JOBS) - {"publish"}
    assert {".ci/run", ".ci/packages"} <= set(COMMANDS)
    assert set(JOBS["publish"]["needs"]) == others
    assert JOBS["publish"]["if"] == "startsWith(github.ref, 'refs/tags/v')"


def test_what_is_published_was_built_and_checked_here():
    kept = {
        step["with"]["name"]: step["with"]["path"]
        for step in STEPS
        if step.get("uses", "").startswith("actions/upload-artifact@")
    }
    (fetched,) = (
        step["with"]
        for step in STEPS
        if step.get("uses", "").startswith("actions/download-artifact@")
    )
    assert kept[fetched["name"]] == fetched["path"] == "dist"


def test_tested_versions_of_python_are_those_of_the_metadata():
    tested = JOBS["test"]["strategy"]["matrix"]["python"]
    settings = (ROOT / "setup.cfg").read_text()
    named = re.findall(r"Python :: (3\.\d+)$", settings, re.MULTILINE)
    assert tested == [named[0], named[-1]]
    assert f"python_requires = >={tested[0]}" in settings
