"""Numbers as people write them: 1,234.50 or 1.234,50 or $5 or 12 %."""

import math
import re
import unicodedata
from typing import NamedTuple

_DIGITS = r"\d{1,3}"
_SPACES = "\u00a0\u202f '\u2019"  # Between thousands, as in Sweden or Zurich


class Ambiguous(Exception):
    """What a text means depends on where it was written."""


class Format(NamedTuple):
    """How numbers are written.

    Args:
        decimal: What stands before the decimals, `"."` or `","`.
    """

    decimal: str = "."

    @property
    def thousands(self):
        """The other of the two, which stands between thousands."""
        return "," if self.decimal == "." else "."

    def number(self, text):
        """The number in a text; NaN if it is none, or not finite."""
        text = bare(text)
        grouped = re.fullmatch(
            rf"([-+]?{_DIGITS}(?:{re.escape(self.thousands)}\d{{3}})+)"
            rf"({re.escape(self.decimal)}\d*)?",
            text,
        )
        if grouped:
            text = text.replace(self.thousands, "")
        elif self.thousands in text:
            return math.nan
        try:
            number = float(text.replace(self.decimal, "."))
        except ValueError:
            return math.nan
        return number if math.isfinite(number) else math.nan


def bare(text):
    """A text without sign of a currency, percent, and gaps in a number."""
    kept = [
        character
        for character in text.replace("\u2212", "-")
        if unicodedata.category(character) != "Sc" and character != "%"
    ]
    text = "".join(kept).strip()
    text = re.sub(r"^(-?)\s+", r"\1", text)
    return re.sub(rf"(?<=\d)[{_SPACES}](?=\d{{3}}(?!\d))", "", text)


def format_of(texts, separator):
    """How the numbers in a table are written, by all of them together.

    Args:
        texts: Cells of the columns that are to be numbers.
        separator: What separates cells in the file. Where it is a semicolon,
            the comma is kept for decimals; where it is a comma, a comma
            within quotes stands between thousands.

    Raises:
        Ambiguous: with the text that may be either.
    """
    evidence = {}
    doubtful = {}
    for text in texts:
        mark = decimal_mark(bare(text))
        if mark in (".", ","):
            evidence.setdefault(mark, text)
        elif mark:
            doubtful.setdefault(mark[0], text)
    if len(evidence) == 2:
        raise Ambiguous(evidence[","])
    for mark in evidence:
        return Format(mark)
    if "," in doubtful:
        if separator == ";" and "." not in doubtful:
            return Format(",")
        if separator == "," and "." not in doubtful:
            return Format(".")
        raise Ambiguous(doubtful[","])
    if "." in doubtful and separator == ";":
        raise Ambiguous(doubtful["."])
    return Format(".")


def decimal_mark(text):
    """What a number says about marks.

    Returns:
        `"."` or `","` if it shows which stands before decimals; `".?"` or
        `",?"` if that mark may stand before thousands, too; else `None`.
    """
    if not re.fullmatch(r"[-+]?[\d.,]+(?:[eE][-+]?\d+)?", text):
        return None
    marks = re.findall("[.,]", text)
    if not marks:
        return None
    last = marks[-1]
    other = "," if last == "." else "."
    if other in marks:
        return last
    if len(marks) > 1:
        return other  # One that is repeated stands between thousands.
    before, _, after = text.lstrip("+-").partition(last)
    may_be_thousands = re.fullmatch(r"\d{3}", after) and re.fullmatch(
        r"[1-9]\d{0,2}", before
    )
    return f"{last}?" if may_be_thousands else last
