"""`python -m gdtrain COMMAND`: diagnosis of a training, photos, messages."""

import importlib
import os
import sys
from collections.abc import Sequence

from gdtrain.common.command_line import Parser

# Each is imported only if it is given: photos need Pillow, and what explains
# a message needs no TensorFlow.
_COMMANDS = {
    "diagnose": (
        "gdtrain.diagnosis.command",
        "show what a training did, and what to try",
    ),
    "explain": (
        "gdtrain.explain",
        "say more about a message, a verdict or a quantity",
    ),
    "images": (
        "gdtrain.images.command",
        "learn from photos, and describe them",
    ),
}

_EXAMPLES = """\
examples:
  python -m gdtrain diagnose output/logs       why a training goes as it goes
  python -m gdtrain explain worker-lost        more about a message
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
    for name, (_, what) in _COMMANDS.items():
        commands.add_parser(name, help=what)
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] and given[0] in _COMMANDS:
        module, _ = _COMMANDS[given[0]]
        importlib.import_module(module).main(given[1:])
        return
    parser.parse(given)


def _run() -> None:
    """As the program: a reader of its output may end before it does."""
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    _run()
