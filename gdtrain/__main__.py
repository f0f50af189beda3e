"""`python -m gdtrain COMMAND`: diagnosis of a training, and photos."""

import importlib
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from gdtrain.common.command_line import Parser
from gdtrain.diagnosis.diagnose import diagnose
from gdtrain.writers import reading

_EXAMPLES = """\
examples:
  python -m gdtrain diagnose output/logs       why a training goes as it goes
  python -m gdtrain images train photos        photos/cat/*, photos/dog/*, ...
  python -m gdtrain images describe new.jpg    cat (0.97)

`python -m gdtrain COMMAND --help` says more.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command.

    Args:
        arguments: Defaults to those of the program.
    """
    parser = Parser(
        prog="python -m gdtrain",
        description="Gradient descent you can see and steer.",
        epilog=_EXAMPLES,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "diagnose",
        help="show what a training did, and what to try",
        description="Shows what a training did, and what to try.",
        epilog="example:\n  python -m gdtrain diagnose output/logs\n",
    )
    command.add_argument(
        "log_dir",
        metavar="LOGDIR",
        help="log folder of gdtrain.callbacks.TensorBoard, a folder of "
        "several, or a file that Telemetry.save wrote",
    )
    command.add_argument(
        "--json", action="store_true", help="print all of it as JSON"
    )
    commands.add_parser("images", help="learn from photos, and describe them")
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["images"]:
        # Imported only here: it needs Pillow.
        importlib.import_module("gdtrain.images.command").main(arguments[1:])
        return
    options = parser.parse(arguments)
    runs = reading.runs(options.log_dir) or [options.log_dir]
    try:
        if len(runs) == 1:
            found, text = _diagnosed(runs[0])
        else:
            found, text = _all_diagnosed(options.log_dir, runs)
    except (OSError, ValueError) as error:
        command.error(str(error))
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


if __name__ == "__main__":
    main()
