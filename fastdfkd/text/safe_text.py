"""Escape untrusted text so that it is shown as plain text: one function for each place.

A recipe, a class, a folder or an error may contain markup, escape sequences, line breaks, formulas
or right-to-left text. Pass such text through one of these functions, once, as the last step before
it is shown or written.
"""

from __future__ import annotations

import re

_RIGHT_TO_LEFT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff"
_RUN = re.compile(f"[{_RIGHT_TO_LEFT}](?:[^A-Za-z|]*[{_RIGHT_TO_LEFT}])?")
_ISOLATE, _END = "\u2068", "\u2069"
_MARKDOWN = re.compile(
    r"""[\\`\[\]<>|~&]                          # code, links, tags, columns, strokes, entities
    | \$                                        # formulas
    | ^\# | ^[+-](?=[\s-]) | ^\d+(?=[.)](?:\s|$))   # headings, lists and rules
    | ^\* | (?<=\S)\* | \*(?=\S)                # emphasis; not a star between spaces
    | (?<![A-Za-z0-9])_ | _(?![A-Za-z0-9])      # emphasis; not an underscore within a word""",
    re.VERBOSE,
)
_FORMULA = re.compile("^[=+@\uff1d\uff0b\uff20\uff0d-]")
_LONGEST_FILE_NAME = 120
_LONGEST_RUN_NAME = 250


def printable(text: object) -> str:
    r"""Text on one line: control, invisible and direction characters as `\n`, `\x1b`, `\u202e`."""
    line = str(text)
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def visible(text: object) -> str:
    """`printable` text with right-to-left words isolated, so that they do not reorder the rest.

    For display (terminal, HTML, Markdown). Apply it once: a second call would escape the isolates.
    """
    return _RUN.sub(lambda run: f"{_ISOLATE}{run[0]}{_END}", printable(text))


def lines(text: object) -> str:
    """`visible` applied to each line, for messages of several lines."""
    return "\n".join(visible(line) for line in str(text).split("\n"))


def markdown(text: object) -> str:
    """`visible` text, escaped for a Markdown paragraph, heading or table cell."""
    return _MARKDOWN.sub(_escaped, visible(text))


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet reads as a formula; values that are not text stay unchanged.

    An apostrophe is put before a leading `=`, `+`, `-` or `@`, unless the text is a number.
    """
    if not isinstance(value, str):
        return value
    cell = printable(value)
    return f"'{cell}" if _FORMULA.match(cell) and not _is_number(cell) else cell


def file_name(text: object) -> str:
    """A file or folder name: ASCII letters, digits and `._=,+-`, at most 120 characters."""
    safe = re.sub(r"[^A-Za-z0-9._=,+-]+", "_", str(text).replace(" ", ","))
    return safe[:_LONGEST_FILE_NAME].lstrip(".-") or "_"


def run_name(text: object) -> str:
    """A run name that every MLflow store accepts: one line of at most 250 characters."""
    return printable(text)[:_LONGEST_RUN_NAME]


def metric_name(text: object) -> str:
    """A metric name that MLflow accepts; other characters become `_`."""
    return re.sub(r"[^A-Za-z0-9_. -]", "_", str(text)).lstrip(".")


def _escaped(found: re.Match[str]) -> str:
    return f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
