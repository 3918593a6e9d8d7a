"""What somebody else wrote, shown as text and never as anything else: a function for each place.

A recipe, a class, a folder or an error may hold markup, escape sequences, line breaks, formulas or
right-to-left text. Whoever shows or writes such text passes it through one of these, once, last.
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
    | ^\* | (?<=\S)\* | \*(?=\S)                # emphasis: a star between spaces is none
    | (?<![A-Za-z0-9])_ | _(?![A-Za-z0-9])      # an underscore within a word is none""",
    re.VERBOSE,
)
_FORMULA = re.compile("^[=+@\uff1d\uff0b\uff20\uff0d-]")
_LONGEST_FILE_NAME = 120
_LONGEST_RUN_NAME = 250


def printable(text: object) -> str:
    r"""One line: control, invisible and direction characters become `\n`, `\x1b`, `\u202e`."""
    words = str(text)
    if words.isprintable():
        return words
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


def visible(text: object) -> str:
    """`printable`, with right-to-left words isolated: what stands beside them keeps its place.

    For people's eyes (terminal, HTML, Markdown), and only once: isolates are invisible themselves.
    """
    return _RUN.sub(lambda run: f"{_ISOLATE}{run[0]}{_END}", printable(text))


def lines(text: object) -> str:
    """`visible`, line by line, for messages of several lines."""
    return "\n".join(visible(line) for line in str(text).split("\n"))


def markdown(text: object) -> str:
    """`visible` text that Markdown shows as it is, in a paragraph, a heading or a table's cell."""
    return _MARKDOWN.sub(_escaped, visible(text))


def csv_cell(value: object) -> object:
    """Text that no spreadsheet takes for a formula; numbers stay what they are.

    A leading `=`, `+`, `-` or `@` gets an apostrophe before it, unless the text is a number.
    """
    if not isinstance(value, str):
        return value
    words = printable(value)
    return f"'{words}" if _FORMULA.match(words) and not _is_number(words) else words


def file_name(text: object) -> str:
    """A name for a file or a folder: ASCII letters, digits and `._=,+-`, at most 120 of them."""
    safe = re.sub(r"[^A-Za-z0-9._=,+-]+", "_", str(text).replace(" ", ","))
    return safe[:_LONGEST_FILE_NAME].lstrip(".-") or "_"


def run_name(text: object) -> str:
    """A name that every MLflow store takes: one line of at most 250 characters."""
    return printable(text)[:_LONGEST_RUN_NAME]


def metric_name(text: object) -> str:
    """A name that MLflow takes for a metric."""
    return re.sub(r"[^A-Za-z0-9_. -]", "_", str(text)).lstrip(".")


def _escaped(found: re.Match[str]) -> str:
    return f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
