"""Colour code for a page."""

from __future__ import annotations

from html import escape

from segplug.text import printable

__all__ = ["code_html"]


def code_html(text: str, language: str) -> str:
    """The text as escaped HTML, with its words marked by the classes of pygments (``c-k`` for a keyword).

    The colours are in ``page.css``. A language that pygments does not know is not coloured.
    """
    text = printable(text)
    if not language:
        return escape(text)
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        return escape(text)
    coloured: str = highlight(text, lexer, HtmlFormatter(nowrap=True, classprefix="c-"))
    return coloured.rstrip("\n")
