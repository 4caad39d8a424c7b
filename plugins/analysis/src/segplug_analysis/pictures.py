"""The parts that all pictures share: figures without global state, styles of lines, writing files.

matplotlib and seaborn are imported inside the calls, so that importing this module is fast.
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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "INK",
    "Kind",
    "LineLook",
    "Style",
    "encode",
    "font_notes",
    "line_looks",
    "new_figure",
    "page_styled",
    "page_svg",
    "picture_kind",
    "plain_text",
    "styled",
]

Kind = Literal["png", "svg", "pdf"]

Style = Literal["darkgrid", "whitegrid", "dark", "white", "ticks"]
"""The names of seaborn's styles."""

_DPI = 150

INK = "#0a0b0c"
"""The colour of texts and marks in a picture for a page, where the page's own colour of text replaces it."""

_FAINT = "#0d0e0f"
"""The colour of grids and frames there, which the page's colour of lines replaces."""

_LATIN = 0x24F
"""Every font has the characters up to this code."""

_LISTED = 20
"""How many missing characters a note lists."""

_COLOURS = (
    "#0173b2",
    "#de8f05",
    "#029e73",
    "#cc3311",
    "#b55fa6",
    "#9c6b30",
    "#56b4e9",
    "#6b6b6b",
    "#e377c2",
    "#a8a000",
)
"""seaborn's "colorblind" palette, with darker tones instead of pale ones: thin lines need more contrast."""

_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
_SAME_DASH = 5
"""How many lines share one dash. Colours repeat after ten lines, so twenty lines all look different."""

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
"""Fonts with Chinese characters on common systems, used where the default font has none."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class LineLook:
    """The style of one of several lines; the names are matplotlib's."""

    color: str
    linestyle: Any
    marker: str
    """For lines of few points."""


def line_looks(count: int) -> tuple[LineLook, ...]:
    """Styles that differ in more than the colour, for colour-blind readers and grey prints."""
    return tuple(
        LineLook(
            color=_COLOURS[index % len(_COLOURS)],
            linestyle=_DASHES[index // _SAME_DASH % len(_DASHES)],
            marker=_MARKERS[index % len(_MARKERS)],
        )
        for index in range(count)
    )


def plain_text(text: str) -> str:
    """A text for matplotlib without formulas: names of files and classes are drawn as they are."""
    return text.encode("utf-8", "replace").decode().replace("$", r"\$")


@contextmanager
def styled(style: Style) -> Iterator[None]:
    """Use a style of seaborn for everything that is drawn in the context."""
    import matplotlib

    seaborn: Any = importlib.import_module("seaborn")  # has no types
    with seaborn.axes_style(style), matplotlib.rc_context():
        matplotlib.rcParams["font.family"] = _font_families()
        yield


@contextmanager
def page_styled() -> Iterator[None]:
    """Draw for :func:`page_svg`: nothing behind the picture, and the page's colours and font."""
    import matplotlib

    settings: Any = {  # matplotlib's type lists every name
        "font.size": 10.5,
        "svg.fonttype": "none",  # texts stay texts
        "font.sans-serif": ["DejaVu Sans"],  # the widest usual font: the page's own needs less room
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": _FAINT,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": _FAINT,
        **{f"{axis}tick.{name}": value for axis in "xy" for name, value in _TICKS.items()},
    }
    with matplotlib.rc_context(settings):
        matplotlib.rcParams["font.family"] = _font_families()
        yield


_TICKS = {"color": _FAINT, "labelcolor": INK, "labelsize": 10}


def page_svg(figure: Figure) -> bytes:
    """A figure that was drawn within :func:`page_styled`, as SVG that takes its colours from the page."""
    figure.set_facecolor("none")
    svg = encode(figure, "svg")
    return svg.replace(INK.encode(), b"currentColor").replace(_FAINT.encode(), b"var(--line, #ccc)")


def _font_families() -> list[str]:
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return ["sans-serif", *(name for name in _WIDE_FONTS if name in installed)][:2]


def font_notes(texts: Iterable[str]) -> list[str]:
    """A note on the characters of these texts that no font has; none if all can be drawn."""
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
    return [f"the picture has boxes instead of characters that no installed font has: {listed}"]


def new_figure(width: float, height: float, *, fixed_aspect: bool = False) -> Figure:
    """An empty figure that makes room for its labels and legends.

    Args:
        width: Width of the whole picture, in inches.
        height: Height of the whole picture, in inches.
        fixed_aspect: The drawing has square cells and does not stretch to the figure.
    """
    from matplotlib.figure import Figure

    layout: Literal["compressed", "constrained"] = "compressed" if fixed_aspect else "constrained"
    return Figure(figsize=(width, height), layout=layout, facecolor="white")


def encode(figure: Figure, kind: Kind) -> bytes:
    """The figure as the content of a file. Equal figures give equal files."""
    import matplotlib

    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "segplug"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the report has a note on it
        figure.savefig(buffer, format=kind, dpi=_DPI, metadata=undated, facecolor=figure.get_facecolor())
    return buffer.getvalue()


def picture_kind(path: Path) -> Kind:
    """The format of the picture that a file of this name holds.

    Raises:
        UsageError: its suffix is no known format.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in get_args(Kind):
        raise UsageError(f"{path.name} has no known picture format", hint="name it .png, .svg or .pdf")
    return cast("Kind", kind)
