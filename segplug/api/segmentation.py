"""What a model says of one image: labels and their colours, a painted image, files, a notebook's view."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.errors import ArtifactError, UsageError
from segplug.files import ensure_free, making_folder, write_bytes
from segplug.legend import LegendEntry, count_labels, legend_entries, share_text
from segplug.palette import LabelColours
from segplug.text import printable_line

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.runtime.legend_picture import Place

__all__ = ["LABELS_END", "PAINTED_END", "SavedFiles", "Segmentation", "shares_text"]

PAINTED_END, LABELS_END = "_painted.png", "_labels.png"
"""What follows an image's name in the names of its two files."""
_LARGEST_VIEW = 1280
"""The longest edge of the picture in a notebook, pixels: it is stored in the notebook's file."""
_LISTED = 3
"""Classes that one line names."""


@dataclass(frozen=True)
class SavedFiles:
    """The files of one result."""

    painted: Path
    """The painted image with its legend."""
    labels: Path
    """A PNG with a palette: its values are the labels."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Segmentation:
    """The result of one image. A notebook shows the painted image and its legend."""

    name: str
    """The name of the image."""
    labels: npt.NDArray[Any]
    """Unsigned integer ``(H, W)``, at the image's own size. Of a model that may give a pixel several classes
    it is a bit mask (:attr:`segplug.model.ModelMeta.multilabel`), which :meth:`class_mask` reads."""
    image: npt.NDArray[np.uint8]
    """What is painted over, uint8 ``(H, W, 3)``, RGB: the image, or a view of its channels."""
    classes: tuple[str, ...]
    """The name of each label, or of each bit."""
    colours: LabelColours
    """The colour of each label, RGB."""
    unknown: int = 255
    """The label of pixels that have no class: those without data, or whose scores are not finite."""
    logits: npt.NDArray[np.float32] | None = None
    """float32 ``(C, H, W)``, from which the labels are taken; ``None``: not asked for."""
    scores: Literal["logits", "probabilities"] = "logits"
    """What ``logits`` holds: some models give probabilities, and test-time augmentation averages them."""
    backend: str = ""
    """What ran the model, and where."""
    opacity: float = 0.5
    """Weight of the colours in the painted image, above 0 and at most 1."""

    @cached_property
    def painted(self) -> npt.NDArray[np.uint8]:
        """The image with the colour of each label over it, uint8 ``(H, W, 3)``, RGB."""
        import numpy as np

        from segplug.runtime.paint import Painter

        paint = Painter(self.colours.of_labels, opacity=self.opacity, unpainted=self.colours.unpainted)
        return np.ascontiguousarray(paint(self.image[:, :, ::-1], self.labels)[:, :, ::-1])

    def class_mask(self, which: str | int) -> npt.NDArray[np.bool_]:
        """Where a class is, bool ``(H, W)``; also of a model that may give a pixel several classes.

        Args:
            which: Its name, or its number from 0, which is its place in ``classes``.

        Raises:
            UsageError: there is no such class, or several have the name.
        """
        known = len(self.colours.palette)
        if isinstance(which, str):
            places = [number for number, name in enumerate(self.classes) if name == which]
            if len(places) != 1:
                found = "several classes are" if places else "no class is"
                raise UsageError(
                    f"{found} called {which!r}",
                    hint=f"give its number, from 0 to {known - 1}"
                    if places or not self.classes
                    else f"there are {', '.join(map(printable_line, self.classes))}",
                )
            (which,) = places
        if not 0 <= which < known:
            raise UsageError(f"there is no class {which}: they are numbered from 0 to {known - 1}")
        if not self.colours.multilabel:
            there: npt.NDArray[np.bool_] = self.labels == which
        else:  # the label of unknown pixels has bits, too
            there = (self.labels & (1 << which) > 0) & (self.labels < 1 << known)
        return there

    @cached_property
    def legend(self) -> tuple[LegendEntry, ...]:
        """The labels that occur, with their names, colours and shares of the image, the largest first."""
        return legend_entries(self.classes, self.colours, count_labels(self.labels), unknown=self.unknown)

    def save(
        self,
        folder: str | Path = "predictions",
        *,
        name: str = "",
        legend: Place | None = "right",
        force: bool = False,
    ) -> SavedFiles:
        """Write the painted image with its legend, and the label map.

        Args:
            folder: Where to; made if it is not there.
            name: The files are ``NAME_painted.png`` and ``NAME_labels.png``. Default: the image's name,
                without its suffix.
            legend: Where the legend of the painted image is: ``right`` or ``below``; ``None``: nowhere.
            force: Replace older ones.

        Raises:
            UsageError: one of them is there, and ``force`` is not set.
            ArtifactError: they cannot be written.
        """
        from segplug.runtime.indexed_png import indexed_png
        from segplug.runtime.legend_picture import with_legend

        name = name or Path(self.name).stem
        if Path(name).name != name:
            raise UsageError(f"{name!r} is no name of a file")
        files = SavedFiles(Path(folder) / (name + PAINTED_END), Path(folder) / (name + LABELS_END))
        with making_folder(Path(folder)):
            for path in (files.painted, files.labels):
                ensure_free(path, force=force)
            painted = self.painted[:, :, ::-1]
            shown = painted if legend is None else with_legend(painted, self.legend, place=legend)
            write_bytes(files.painted, _png(shown))
            write_bytes(files.labels, indexed_png(self.labels, self.colours.of_labels, unknown=self.unknown))
        return files

    def __repr__(self) -> str:
        height, width = self.labels.shape
        return f"<Segmentation of {printable_line(self.name)}: {height}x{width}, {shares_text(self.legend)}>"

    def _repr_html_(self) -> str:
        content = base64.b64encode(_png(_reduced(self.painted[:, :, ::-1]))).decode("ascii")
        height, width = self.labels.shape
        name = escape(printable_line(self.name))
        rows = "".join(f"<div>{_swatch(entry)} {_line(entry)}</div>" for entry in self.legend)
        return (
            f'<figure style="margin:0"><img src="data:image/png;base64,{content}" alt="{name}, painted" '
            'style="max-width:100%;height:auto">'
            f'<figcaption style="font-size:90%"><div>{name}, {height}x{width}</div>'
            f'<div style="columns:12em auto;line-height:1.6">{rows}</div></figcaption></figure>'
        )


def shares_text(entries: tuple[LegendEntry, ...]) -> str:
    """The largest classes of a legend in one line: ``road 43.1 %, sky 20.2 %, car 9.0 %, 5 more``."""
    named = [f"{printable_line(entry.name)} {share_text(entry.share or 0)}" for entry in entries[:_LISTED]]
    more = [f"{len(entries) - _LISTED} more"] if len(entries) > _LISTED else []
    return ", ".join(named + more)


def _swatch(entry: LegendEntry) -> str:
    colour = "rgb({}, {}, {})".format(*entry.colour) if entry.painted else "transparent"
    return (
        f'<span style="display:inline-block;width:0.9em;height:0.9em;border:1px solid #888;'
        f'vertical-align:-0.1em;background:{colour}"></span>'
    )


def _line(entry: LegendEntry) -> str:
    return escape(f"{printable_line(entry.name)} {share_text(entry.share or 0)}")


def _reduced(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The image in the size of a notebook's view."""
    from segplug.runtime.libraries import opencv

    height, width = image.shape[:2]
    factor = _LARGEST_VIEW / max(height, width)
    if factor >= 1:
        return image
    cv2 = opencv()
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    smaller: npt.NDArray[np.uint8] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return smaller


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    """A BGR image as PNG."""
    from segplug.runtime.libraries import opencv

    cv2 = opencv()
    try:
        done, content = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    except cv2.error as error:
        raise ArtifactError(f"OpenCV cannot write a picture of {image.shape[0]}x{image.shape[1]}") from error
    assert done
    return bytes(content)
