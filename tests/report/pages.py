"""Reads pages in tests: their texts, and whether every text can be read on what is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastdfkd.text.safe_text import visible

ISOLATES = str.maketrans("", "", "\u2068\u2069")
READABLE = 4.5
"""Contrast ratio of text, WCAG 2.2 level AA."""

COLOURS = """
(() => {
  const numbers = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const behind = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement)
      layers.push(numbers(getComputedStyle(e).backgroundColor));
    return layers;
  };
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), drawn = element.closest('svg');
    found.push([walk.currentNode.data, numbers(drawn ? style.fill : style.color), behind(element)]);
  }
  return found;
})()
"""
"""Of each text on a page: the text, its colour, and the backgrounds from the nearest outwards."""


def unreadable_texts(texts: Sequence[tuple[str, list[float], list[list[float]]]]) -> list[Any]:
    """The texts whose contrast is too low, with it."""
    found = [(text, contrast(ink, _blended(behind))) for text, ink, behind in texts]
    return [each for each in found if each[1] < READABLE]


def _blended(layers: Sequence[Sequence[float]]) -> list[float]:
    """The colour of several layers, the nearest first."""
    colour = [255.0] * 3
    for layer in reversed(layers):
        share = layer[3] if len(layer) > 3 else 1.0
        colour = [share * new + (1 - share) * old for new, old in zip(layer, colour, strict=False)]
    return colour


def luminance(colour: Sequence[float]) -> float:
    """Relative luminance of red, green and blue from 0 to 255, as WCAG 2.2 defines it; 0 to 1."""
    shares = [part / 255 for part in colour[:3]]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(w * s for w, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first: Sequence[float], second: Sequence[float]) -> float:
    """Contrast ratio of two colours."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def plain(text: str) -> str:
    """A page's text without isolate characters, with single spaces."""
    return " ".join(text.translate(ISOLATES).split())


def shown(text: str) -> str:
    """How a page must show that text."""
    return plain(visible(text))
