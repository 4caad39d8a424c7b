"""What every picture has in common: a figure without global state, looks of lines, the file it becomes.

matplotlib and seaborn are imported inside the calls: a provider that names this module stays cheap.
"""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from segplug.errors import UsageError
from segplug.files import ensure_free, refuse_input, writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Kind",
    "LineLook",
    "Style",
    "check_picture",
    "encode",
    "font_notes",
    "line_looks",
    "new_figure",
    "plain_text",
    "styled",
    "write_picture",
]

Kind = Literal["png", "svg", "pdf"]

Style = Literal["darkgrid", "whitegrid", "dark", "white", "ticks"]
"""The names of seaborn's styles."""

_DPI = 150

_LATIN = 0x24F
"""Every font has the characters up to here."""

_LISTED = 20
"""How many characters a note names."""

_COLOURS = (
    "#0173b2",
    "#de8f05",
    "#029e73",
    "#cc3311",
    "#b55fa6",
    "#7a4a1f",
    "#56b4e9",
    "#6b6b6b",
    "#e377c2",
    "#a8a000",
)
"""seaborn's "colorblind" hues, the pale ones darkened: a thin line needs more contrast than an area."""

_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
_SAME_DASH = 5
"""Lines that share one dash. Colours come round after ten, so that twenty lines all look different."""

_WIDE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
)
"""Fonts of common systems that have Chinese characters, for what the usual font lacks."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class LineLook:
    """How one of several lines is drawn; the names are matplotlib's."""

    color: str
    linestyle: Any
    marker: str
    """For lines of few points."""


def line_looks(count: int) -> tuple[LineLook, ...]:
    """Looks that differ in more than the colour: for colour-blind readers, and on grey paper."""
    return tuple(
        LineLook(
            color=_COLOURS[index % len(_COLOURS)],
            linestyle=_DASHES[index // _SAME_DASH % len(_DASHES)],
            marker=_MARKERS[index % len(_MARKERS)],
        )
        for index in range(count)
    )


def plain_text(text: str) -> str:
    """A text for matplotlib that is drawn as it is: no part of a file's or a class's name is a formula."""
    return text.encode("utf-8", "replace").decode().replace("$", r"\$")


@contextmanager
def styled(style: Style) -> Iterator[None]:
    """seaborn's style for all that is drawn while the context is open."""
    import matplotlib

    seaborn: Any = importlib.import_module("seaborn")  # has no types
    with seaborn.axes_style(style), matplotlib.rc_context():
        matplotlib.rcParams["font.family"] = _font_families()
        yield


def _font_families() -> list[str]:
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return ["sans-serif", *(name for name in _WIDE_FONTS if name in installed)][:2]


def font_notes(texts: Iterable[str]) -> list[str]:
    """What must be said of a picture with these texts if no font has all of their characters."""
    unusual = sorted({letter for text in texts for letter in text if ord(letter) > _LATIN})
    if not unusual:
        return []
    from matplotlib import font_manager

    with styled("white"):
        named = [font_manager.FontProperties(family=[name]) for name in _font_families()]
        fonts = [font_manager.get_font(font_manager.findfont(one)) for one in named]
    missing = [letter for letter in unusual if not any(font.get_char_index(ord(letter)) for font in fonts)]
    if not missing:
        return []
    listed = "".join(missing[:_LISTED]) + (" ..." if len(missing) > _LISTED else "")
    return [f"the picture shows boxes in the place of characters that no font here has: {listed}"]


def new_figure(width: float, height: float, *, fixed_aspect: bool = False) -> Figure:
    """An empty figure, in inches, that makes room for its labels and legends by itself.

    Args:
        width: Of the whole picture.
        height: Of the whole picture.
        fixed_aspect: What is drawn has square cells, and does not fill the room that it is given.
    """
    from matplotlib.figure import Figure

    layout: Literal["compressed", "constrained"] = "compressed" if fixed_aspect else "constrained"
    return Figure(figsize=(width, height), layout=layout, facecolor="white")


def encode(figure: Figure, kind: Kind) -> bytes:
    """The figure as a whole file. Equal figures give equal files."""
    import matplotlib

    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "segplug"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a report says it in a note
        figure.savefig(buffer, format=kind, dpi=_DPI, metadata=undated, facecolor=figure.get_facecolor())
    return buffer.getvalue()


def check_picture(path: Path, inputs: Iterable[str], *, force: bool) -> Kind:
    """Check, before any work is done, that a picture can be written to ``path``.

    Raises:
        UsageError: its suffix names no format, it is an input, or it is not free.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in get_args(Kind):
        raise UsageError(f"{path.name} names no kind of picture", hint="name it .png, .svg or .pdf")
    refuse_input(path, inputs)
    ensure_free(path, force=force)
    return cast("Kind", kind)


def write_picture(path: Path, content: bytes, *, force: bool) -> None:
    """Write a picture whole or not at all; raises as :func:`segplug.files.writing` does."""
    with writing(path, force=force) as temporary:
        temporary.write_bytes(content)
