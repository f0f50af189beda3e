"""`python -m gdtrain diagnose`: verdicts on a log folder."""

import json
import os
import textwrap
from collections.abc import Sequence
from typing import Any

from gdtrain.common.command_line import Parser
from gdtrain.diagnosis.diagnose import diagnose
from gdtrain.writers import reading

_EXAMPLES = """\
example:
  python -m gdtrain diagnose output/logs

`python -m gdtrain explain VERDICT` says more about a verdict.
"""


def main(arguments: Sequence[str]) -> None:
    """Prints the verdicts on one run, or on each of several.

    Args:
        arguments: What follows `diagnose`.

    Raises:
        SystemExit: with code 2 and one line on standard error, if there is
            nothing to judge.
    """
    parser = Parser(
        prog="python -m gdtrain diagnose",
        description="Shows what a training did, and what to try.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "log_dir",
        metavar="LOGDIR",
        help="log folder of gdtrain.callbacks.TensorBoard, a folder of "
        "several, or a file that Telemetry.save wrote",
    )
    parser.add_argument(
        "--json", action="store_true", help="print all of it as JSON"
    )
    options = parser.parse(arguments)
    runs = reading.runs(options.log_dir) or [options.log_dir]
    try:
        if len(runs) == 1:
            found, text = _diagnosed(runs[0])
        else:
            found, text = _all_diagnosed(options.log_dir, runs)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(json.dumps(found, indent=1) if options.json else text)


def _diagnosed(run: str) -> tuple[dict[str, Any], str]:
    """A diagnosis: a dict, and a text."""
    diagnosis = diagnose(run)
    return diagnosis.as_dict(), str(diagnosis)


def _all_diagnosed(
    log_dir: str, runs: Sequence[str]
) -> tuple[dict[str, Any], str]:
    """Diagnoses of the runs in a folder: a dict by name, and a text."""
    found: dict[str, Any] = {}
    texts = []
    for run in runs:
        name = os.path.relpath(run, log_dir)
        try:
            found[name], text = _diagnosed(run)
        except (OSError, ValueError) as error:
            text = str(error)
            found[name] = {"error": text}
        texts.append(f"{name}\n" + textwrap.indent(text, "  "))
    return found, "\n\n".join(texts)
