"""Command lines whose messages are in the words of their options."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from gdtrain.common.explained import without_more

_VALUES = {"None": "none", "False": "0", "True": "1"}
# What follows a name and =, as `repr` writes it
_VALUE = r"""'[^']*'|"[^"]*"|\([^)]*\)|[^\s,`]*[^\s,.;:`]"""


class Parser(argparse.ArgumentParser):
    """Parses options; says what is wrong in one line, with exit code 2.

    Without any arguments it shows its help before.

    Args:
        **settings: As in `argparse.ArgumentParser`. Descriptions keep their
            line breaks.
    """

    def __init__(self, **settings: Any) -> None:
        self._options: dict[str, argparse.Action] = {}
        help_class = argparse.RawDescriptionHelpFormatter
        super().__init__(**{"formatter_class": help_class} | settings)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """As in `argparse.ArgumentParser`."""
        action = super().add_argument(*names, **settings)
        if action.option_strings:
            self._options[action.dest] = action
        return action

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parses arguments.

        Raises:
            SystemExit: if something is wrong with them.
        """
        if not arguments:
            self.print_help(sys.stderr)
        return self.parse_args(arguments)

    def error(self, message: str) -> NoReturn:
        """Ends the program with a line, and one for the page that it names."""
        text, page = without_more(message)
        text = f"error: {text.removesuffix('.')}. See `{self.prog} --help`.\n"
        self.exit(2, text + (f"{page}\n" if page else ""))

    def in_options(self, text: str) -> str:
        """A message on arguments of Python's, in options of the command.

        Args:
            text: Names are replaced in backticks, or before a `=`, if an
                option has this name as its `dest`.

        Example:

        >>> parser = Parser()
        >>> _ = parser.add_argument("--held-out")
        >>> _ = parser.add_argument(
        ...     "--balanced", dest="class_weight", action="store_true"
        ... )
        >>> print(parser.in_options("`held_out` is a share. Received: "
        ...     "held_out=7.5. Write `held_out=0.2`; `class_weight={...}`."))
        `--held-out` is a share. Received: --held-out 7.5. Write
        `--held-out 0.2`; `--balanced`.
        """
        names = "|".join(map(re.escape, self._options))
        if not names:
            return text

        def option(found: re.Match[str]) -> str:
            action = self._options[found["name"]]
            words = action.option_strings[-1]
            if found["value"] is not None and action.nargs != 0:
                value = found["value"].strip("'\"")
                words += f" {_VALUES.get(value, value)}"
            return words

        text = re.sub(
            rf"(?<=`)(?P<name>{names})(?:=(?P<value>[^`]*))?(?=`)", option, text
        )
        return re.sub(
            rf"(?<![\w.`-])(?P<name>{names})=(?P<value>{_VALUE})", option, text
        )
