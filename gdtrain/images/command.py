"""`python -m gdtrain images`: a folder of photos in, words out."""

import sys
import warnings
from collections.abc import Sequence
from typing import Any

from gdtrain.common.command_line import Parser
from gdtrain.common.explained import without_more
from gdtrain.images import describe_command, train_command

_NOT_USABLE = OSError, ValueError, ImportError, ArithmeticError, MemoryError

_EXAMPLES = """\
examples:
  python -m gdtrain images train photos        photos/cat/*, photos/dog/*, ...
  python -m gdtrain images describe new.jpg    cat (0.97)
"""


def main(arguments: Sequence[str]) -> None:
    """Trains a classifier of photos, or asks one.

    Args:
        arguments: What follows `images`.

    Raises:
        SystemExit: with code 2 and one line on standard error, if something
            that was given cannot be used; with 1 if some photos of a folder
            cannot be read; with 130 after Ctrl-C.
    """
    parser = Parser(
        prog="python -m gdtrain images",
        description="A folder of photos in, words out.",
        epilog=_EXAMPLES,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train_command.add(commands)
    describe_command.add(commands)
    options = parser.parse(arguments)
    command: Parser = options.parser

    def show(message: Any, *_: Any, **__: Any) -> None:
        text = command.in_options(_in_lines(str(message)))
        print(f"warning: {text}", file=sys.stderr)

    try:
        with warnings.catch_warnings():
            # Of characters that Matplotlib's font lacks
            warnings.filterwarnings("ignore", "Glyph")
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.showwarning = show
            options.run(options)
    except _NOT_USABLE as error:
        parser.exit(2, f"error: {command.in_options(_sentence(error))}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"stopped by Ctrl-C. {options.after_stop}\n")


def _sentence(error: BaseException) -> str:
    """What an error says, without a number of the system's."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename is None:
        text = text.removeprefix(f"[Errno {error.errno}] ")
    return _in_lines(text, end=".")


def _in_lines(message: str, end: str = "") -> str:
    """A message in one line, and another one for the page that it names.

    Args:
        message: The message.
        end: What the first line ends with, in any case.
    """
    text, page = without_more(message)
    line = " ".join(text.split()).removesuffix(end) + end
    return f"{line}\n{page}".rstrip()
