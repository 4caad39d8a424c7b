"""Put an SVG file into a page, so that the page's colours and fonts apply to it.

A file inside a page could hold script, style rules for the whole page, addresses to fetch, and names that
another figure has. Only elements and attributes that draw are taken over.
"""

from __future__ import annotations

import re
from html import escape
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from segplug.text import printable

__all__ = ["inline_svg"]

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"

_ELEMENTS = frozenset(
    """
    circle clipPath defs desc ellipse g image line linearGradient path pattern polygon polyline radialGradient
    rect stop svg symbol text title tspan use
    """.split()  # noqa: SIM905
)

_ATTRIBUTES = frozenset(
    """
    clip-path clip-rule clipPathUnits cx cy d dominant-baseline dx dy fill fill-opacity fill-rule font-family
    font-size font-style font-weight fx fy gradientTransform gradientUnits height offset opacity
    patternTransform patternUnits points preserveAspectRatio r rx ry spreadMethod stop-color stop-opacity
    stroke stroke-dasharray stroke-dashoffset stroke-linecap stroke-linejoin stroke-miterlimit
    stroke-opacity stroke-width style text-anchor transform viewBox visibility width x x1 x2 y y1 y2
    """.split()  # noqa: SIM905
)

_LENGTH = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?)(?P<unit>px|pt|mm|cm|in)")

_SMALLEST = 0.57
"""How far a narrow window shrinks a drawing: its texts can still be read. Then it scrolls sideways."""

_RASTER = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=\s]+")

_FUNCTION = re.compile(r"([^\s:;,()]*)\s*\(")

_FUNCTIONS = frozenset(
    {"hsl", "matrix", "rgb", "rgba", "rotate", "scale", "skewx", "skewy", "translate", "var"}
)

_OWN_ADDRESS = re.compile(r"url\(\s*(?P<quote>['\"]?)#(?P<name>[^'\"()\s]+)(?P=quote)\s*\)")


def inline_svg(content: bytes, prefix: str, description: str) -> str | None:
    """The drawing as an element of a page.

    Args:
        content: The file.
        prefix: Stands before every id in it, which may be on the page only once.
        description: What it shows, for people who cannot see it.

    Returns:
        The element; ``None`` if the file cannot be read as SVG.
    """
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError:
        return None
    if root.tag != f"{_SVG}svg":
        return None
    children = "".join(_element(child, prefix) for child in root)
    attributes = {"viewBox": root.get("viewBox", "")}
    width = _LENGTH.fullmatch(root.get("width", ""))
    if width:
        least = f"{float(width['number']) * _SMALLEST:.0f}{width['unit']}"
        attributes["style"] = f"max-width: {width[0]}; min-width: {least}"
    attributes |= {"role": "img", "aria-label": printable(description)}
    return f"<svg{_as_text(attributes)}>{children}</svg>"


def _element(element: Element, prefix: str) -> str:
    """The element's HTML, and nothing for one that does more than draw."""
    tag = element.tag if isinstance(element.tag, str) else ""  # a comment has no name
    name = tag.removeprefix(_SVG)
    inside = ""
    if tag.startswith(_SVG) and name in _ELEMENTS:
        children = "".join(_element(child, prefix) for child in element)
        attributes = _as_text(_attributes(element, prefix))
        inside = f"<{name}{attributes}>{_escaped(element.text)}{children}</{name}>"
    return inside + _escaped(element.tail)


def _escaped(text: str | None) -> str:
    return escape(printable(text)) if text and text.strip() else ""


def _attributes(element: Element, prefix: str) -> dict[str, str]:
    kept = {}
    for name, value in element.items():
        if name in ("href", _LINK):
            if value.startswith("#"):
                kept["href"] = f"#{prefix}-{value[1:]}"
            elif element.tag == f"{_SVG}image" and _RASTER.fullmatch(value):
                kept["href"] = value
        elif name == "id":
            kept["id"] = f"{prefix}-{value}"
        elif name in _ATTRIBUTES:
            kept |= {name: _OWN_ADDRESS.sub(rf"url(#{prefix}-\g<name>)", value)} if _is_plain(value) else {}
    return kept


def _is_plain(value: str) -> bool:
    """Whether a value names nothing outside of the drawing: some functions of CSS fetch an address."""
    rest = _OWN_ADDRESS.sub("", value).lower()
    return set(_FUNCTION.findall(rest)) <= _FUNCTIONS and not any(mark in rest for mark in ("\\", "@", "/*"))


def _as_text(attributes: dict[str, str]) -> str:
    return "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
