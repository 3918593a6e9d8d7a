"""How a value stands in a message: on one line, short, and without credentials.

Every message that repeats what a user gave (a value, a key, a path, another library's words) takes
it through here: a value of 10,000 characters hides the message, and a password stays in a log.
"""

from __future__ import annotations

import re

LONGEST = 80
"""Characters of a value that are shown."""

LONGEST_NAME = 200
"""Of a key or a path, which say where."""

LONGEST_LINE = 400
"""Of what another library says."""

_SECRET = r"(?:password|passwd|pwd|token|secret|credentials?|api[_-]?key|access[_-]?key)"
_NAMED = re.compile(rf"(?i)({_SECRET}(?:=|['\"]\s*:\s*['\"]?))[^\s&;'\"<>]+")
_WORD = re.compile(r"\S+")
_HIDDEN = "***"


def shown(value: object) -> str:
    """A value as `repr` has it, shortened in the middle."""
    try:
        text = repr(value)
    except Exception:  # nested too deeply, a whole number of 5,000 digits, a stranger's object
        text = f"<{type(value).__name__}>"
    return _clipped(without_credentials(text), LONGEST)


def shown_name(name: object) -> str:
    """A key, a path or a name as it is, without quotes; only an absurdly long one is shortened."""
    return _clipped(without_credentials(_printable(str(name))), LONGEST_NAME)


def reason(error: BaseException | str) -> str:
    """What an error says, on one line; its type's name where it says nothing."""
    line = next((line for line in str(error).splitlines() if line.strip()), "")
    text = _printable(line.strip() or type(error).__name__)
    return _clipped(without_credentials(text), LONGEST_LINE)


def without_credentials(text: str) -> str:
    """A text without the users and passwords of its addresses and the values of its `token=...`."""
    return _NAMED.sub(rf"\g<1>{_HIDDEN}", _WORD.sub(_without_user, text))


def shown_message(text: str) -> str:
    """A whole message, the system's perhaps: every word of it (a path) like `reason`'s line."""
    return _WORD.sub(lambda word: _clipped(word[0], LONGEST_LINE), without_credentials(text))


def names_a_secret(key: str) -> bool:
    """Whether what stands under a key of that name is not to be shown."""
    return re.search(rf"(?i){_SECRET}$", key) is not None


def _without_user(word: re.Match[str]) -> str:
    """A word of a text; what is before its last `@` in an address may all be password."""
    scheme, slashes, rest = word[0].partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}" if slashes else word[0]


def _printable(text: str) -> str:
    """Control characters and line breaks as `repr` writes them."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _clipped(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end]}...{text[-end:]} ({len(text):,} characters)"
