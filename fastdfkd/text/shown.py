"""Format values for messages: on one line, short, and without credentials.

Use these for everything in a message that comes from a user or another library (a value, a key, a
path, an error). A value of 10,000 characters would hide the message, and a password would stay in a
log.
"""

from __future__ import annotations

import re

LONGEST = 80
"""Most characters of a value that are shown."""

LONGEST_NAME = 200
"""Most characters of a key or a path that are shown."""

LONGEST_LINE = 400
"""Most characters of another library's error that are shown."""

_SECRET = r"(?:password|passwd|pwd|token|secret|credentials?|api[_-]?key|access[_-]?key)"
_NAMED = re.compile(rf"(?i)({_SECRET}(?:=|['\"]\s*:\s*['\"]?))[^\s&;'\"<>]+")
_WORD = re.compile(r"\S+")
_HIDDEN = "***"


def shown(value: object) -> str:
    """The `repr` of a value, shortened in the middle."""
    try:
        text = repr(value)
    except Exception:  # deep nesting, an integer of 5,000 digits, an object's own error
        text = f"<{type(value).__name__}>"
    return _clipped(without_credentials(text), LONGEST)


def shown_name(name: object) -> str:
    """A key, a path or a name, without quotes and shortened only if it is very long."""
    return _clipped(without_credentials(_printable(str(name))), LONGEST_NAME)


def reason(error: BaseException | str) -> str:
    """The first line of an error's message; the name of its type if the message is empty."""
    line = next((line for line in str(error).splitlines() if line.strip()), "")
    text = _printable(line.strip() or type(error).__name__)
    return _clipped(without_credentials(text), LONGEST_LINE)


def without_credentials(text: str) -> str:
    """Text without users and passwords of URLs and without values of `token=...` and the like."""
    return _NAMED.sub(rf"\g<1>{_HIDDEN}", _WORD.sub(_without_user, text))


def shown_message(text: str) -> str:
    """A complete message without credentials, each of its words at most `LONGEST_LINE` long."""
    return _WORD.sub(lambda word: _clipped(word[0], LONGEST_LINE), without_credentials(text))


def names_a_secret(key: str) -> bool:
    """Whether a key names a secret, such as `password` or `api_key`."""
    return re.search(rf"(?i){_SECRET}$", key) is not None


def _without_user(word: re.Match[str]) -> str:
    """A word; of a URL all before the last `@` is dropped, as a password may contain `@` too."""
    scheme, slashes, rest = word[0].partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}" if slashes else word[0]


def _printable(text: str) -> str:
    """Text with control characters and line breaks as `repr` writes them."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _clipped(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end]}...{text[-end:]} ({len(text):,} characters)"
