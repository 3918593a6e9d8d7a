"""What can happen to a file: power cuts, bad copies, other programs, ill will.

A damage takes the path of a file and leaves something else in its place. It may put what it needs
into the folder `outside`, beside the run's.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Damage = Callable[[Path, Path], None]
DEEP = 10_000
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "text": "seven",
    "list": [1, [2]],
    "object": {"a": {"b": 1}},
    "minus": -7,
    "zero": 0,
    "huge": 10**400,
    "huge float": 1e308,
    "nan": float("nan"),
    "infinity": float("inf"),
    "long text": "x" * 100_000,
    "escape": "\x1b[31m\0[/]\n[bold]",
    "way out": "../../outside/kept.txt",
}
"""Of other kinds and sizes than any field wants."""


def replaced(content: bytes) -> Damage:
    """Other bytes in its place."""

    def damage(path: Path, outside: Path) -> None:
        path.write_bytes(content)

    return damage


def changed(change: Callable[[bytes], bytes]) -> Damage:
    """Its own bytes, changed."""

    def damage(path: Path, outside: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return damage


def instead(make: Callable[[Path, Path], None]) -> Damage:
    """No file at all, but what `make` puts there."""

    def damage(path: Path, outside: Path) -> None:
        path.unlink()
        make(path, outside)

    return damage


def _flipped(share: float) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        place = min(int(share * len(content)), len(content) - 1)
        return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]

    return flip


def _other_text(content: bytes) -> bytes:
    return content.decode(errors="replace").encode("utf-16")


def _linked_away(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "kept.txt")


def _whole_but_elsewhere(path: Path, outside: Path) -> None:
    (outside / path.name).write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside / path.name)


def _folder(path: Path, outside: Path) -> None:
    path.mkdir()
    (path / "inner").write_text("kept")


WHOLE: dict[str, Damage] = {
    "missing": instead(lambda path, outside: None),
    "empty": replaced(b""),
    "cut in half": changed(lambda content: content[: len(content) // 2]),
    "last byte gone": changed(lambda content: content[:-1]),
    "flipped at the start": changed(_flipped(0)),
    "flipped in the middle": changed(_flipped(0.5)),
    "flipped at the end": changed(_flipped(1)),
    "zeros": changed(lambda content: bytes(len(content))),
    "zeros at the end": changed(lambda content: content[: len(content) // 2] + bytes(700)),
    "noise": changed(lambda content: random.Random(7).randbytes(len(content))),
    "garbage behind": changed(lambda content: content + b"\0\xff}garbage"),
    "twice": changed(lambda content: content + content),
    "byte order mark": changed(lambda content: b"\xef\xbb\xbf" + content),
    "carriage returns": changed(lambda content: content.replace(b"\n", b"\r\n")),
    "UTF-16": changed(_other_text),
    "Latin-1": changed(lambda content: content + b'\n"\xe9\xe8": \xfc'),
    "a list": replaced(b"[1, 2]"),
    "a number": replaced(b"3"),
    "null": replaced(b"null"),
    "text": replaced(b'"recipe"'),
    "no fields": replaced(b"{}"),
    "nested lists": replaced(b"[" * DEEP + b"]" * DEEP),
    "nested objects": replaced(b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "NaN": replaced(b"NaN"),
    "many digits": replaced(b"9" * 6_000),
    "YAML tag": replaced(b"!!python/object/apply:os.mkdir [/tmp/never]"),
    "pickle": replaced(b"cos\nsystem\n(S'touch /tmp/never'\ntR."),
    "a folder": instead(_folder),
    "dangling link": instead(lambda path, outside: path.symlink_to(outside / "absent")),
    "link in a circle": instead(lambda path, outside: path.symlink_to(path.name)),
    "link to another file": instead(_linked_away),
    "whole, behind a link": _whole_but_elsewhere,
    "a pipe": instead(lambda path, outside: os.mkfifo(path)),
    "a device without end": instead(lambda path, outside: path.symlink_to("/dev/zero")),
    "unreadable": lambda path, outside: path.chmod(0),
}
"""Damages of any file, by name."""


def enormous(path: Path, outside: Path) -> None:
    """A hundred megabytes, which cost no disk."""
    with path.open("r+b") as file:
        file.truncate(100 * 2**20)


def in_json(content: Any) -> Iterator[tuple[str, Any]]:
    """The content with each of its places replaced or gone, one at a time, with a name."""
    for place in _places(content):
        shown = ".".join(map(str, place))
        for name, value in VALUES.items():
            yield f"{shown} is {name}", _with(content, place, lambda _, value=value: value)
        yield f"{shown} is missing", _with(content, place, None)


def _places(content: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values in a tree, of lists the first item only."""
    inner: Any = content.items() if isinstance(content, dict) else []
    if isinstance(content, list) and content:
        inner = [(0, content[0])]
    for key, value in inner:
        yield (*above, key)
        yield from _places(value, (*above, key))


def _with(content: Any, place: tuple[Any, ...], change: Callable[[Any], Any] | None) -> Any:
    """A copy with the value at `place` changed, or taken out."""
    key, *rest = place
    copy = dict(content) if isinstance(content, dict) else list(content)
    if rest:
        copy[key] = _with(copy[key], tuple(rest), change)
    elif change is None:
        del copy[key]
    else:
        copy[key] = change(copy[key])
    return copy


def as_json(content: Any) -> bytes:
    """As a program of another make might write it: NaN and all."""
    return json.dumps(content).encode()
