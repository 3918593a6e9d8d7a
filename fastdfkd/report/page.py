"""HTML pages for offline reading: one file, no script, a light and a dark theme.

`templates/page.html` is the frame of every page, `templates/page.css` its style.
"""

from __future__ import annotations

import base64
from typing import Any

from markupsafe import Markup, escape

from fastdfkd.text.safe_text import lines, visible


def render(package: str, template: str, **values: Any) -> str:
    """A page as HTML. Texts are escaped; only `Markup` is HTML already.

    Args:
        package: has the template in its folder `templates/`.
        template: name of the template, which extends `page.html`.
        values: what it shows; `title` always.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    folders = [PackageLoader(package), PackageLoader("fastdfkd.report")]
    environment = Environment(
        loader=ChoiceLoader(folders), autoescape=True, finalize=_shown, undefined=StrictUndefined
    )
    return environment.get_template(template).render(**values)


def several_lines(text: str) -> Markup:
    """Text of several lines, for `<pre>`."""
    return escape(lines(text))


def embedded(picture: bytes) -> str:
    """A picture as base64."""
    return base64.b64encode(picture).decode()


def _shown(value: object) -> object:
    return value if isinstance(value, Markup) else visible(value)
