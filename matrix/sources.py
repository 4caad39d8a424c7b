"""What the matrix can measure: each source of models, with its families, its pages and its versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from matrix import families, families_mmseg1, families_transformers, mmseg_models, transformers_models
from matrix.families import Case
from matrix.rows import FORM, MODES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.api import Segplug
    from segplug.model import SegmentationModel

__all__ = ["SOURCES", "Models", "Source"]

LIBRARIES = ("torch", "numpy", "onnx", "onnxruntime", "onnxscript")
MADE_BY = ("segplug", "segplug-torch", "segplug-mmseg", "segplug-onnx", "mmsegmentation", *LIBRARIES)


class Models(Protocol):
    """The module that makes a framework's networks."""

    def load(self, session: Segplug, family: str, case: Case, *, slides: bool = False) -> SegmentationModel:
        """The network of a case, with random weights: the same each time."""

    def slide_inference(
        self, model: SegmentationModel
    ) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
        """The reference of the slide inference of a model: prepared image ``(C, H, W)`` to its scores."""


@dataclass(frozen=True)
class Source:
    """One framework that models come from."""

    what: str
    """What is exported, as the page says it."""
    slide_reference: str
    """Whose slide inference is the reference, as the page says it."""
    page: str
    """The name of its page and of its file of rows in ``docs``, without a suffix."""
    models: Models
    title: str
    command: str
    families: Mapping[str, Case]
    parts: tuple[str, ...]
    """What is measured of each family: ``MODES``, and ``FORM``."""
    made_by: tuple[str, ...]
    """The distributions that a measurement depends on."""
    missing: Callable[[], str | None]
    """Returns why this environment cannot measure it, or ``None``."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Families that are not measured, and why."""

    def versions(self) -> dict[str, str]:
        """The versions of those distributions that are installed."""
        found = {}
        for name in self.made_by:
            with suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name)
        return found


def _missing_mmseg(wanted: str) -> str | None:
    from segplug_mmseg.installed import installed_mmseg

    from segplug.errors import MissingDependencyError

    try:
        found = installed_mmseg()
    except MissingDependencyError as error:
        return str(error)
    if found.generation == wanted:
        return None
    return f"{found} is installed: run it in an environment with mmsegmentation {wanted}"


def _missing_transformers() -> str | None:
    if find_spec("transformers") is None:
        return "transformers is not installed"
    return None


SOURCES: Mapping[str, Source] = {
    "mmseg0": Source(
        what="one config of each of mmsegmentation 0.30's families",
        slide_reference="mmseg's own slide inference",
        page="support-matrix",
        models=mmseg_models,
        title="Support matrix",
        command="python -m matrix",
        families=families.FAMILIES,
        parts=MODES,
        made_by=(*MADE_BY, "mmcv", "mmcv-full"),
        missing=partial(_missing_mmseg, "0.x"),
    ),
    "mmseg1": Source(
        what="one config of each of mmsegmentation 1.2's families",
        slide_reference="mmseg's own slide inference",
        page="support-matrix-mmseg1",
        models=mmseg_models,
        title="Support matrix: mmsegmentation 1.x",
        command="python -m matrix --source mmseg1",
        families=families_mmseg1.FAMILIES,
        parts=(FORM, *MODES),
        made_by=(*MADE_BY, "onedl-mmsegmentation", "mmcv", "mmcv-lite", "mmengine", "mmdet", "mmpretrain"),
        missing=partial(_missing_mmseg, "1.x"),
        left_out=families_mmseg1.LEFT_OUT,
    ),
    "transformers": Source(
        what="one network of each segmentation class of transformers",
        slide_reference="the same windows, cut and added up by PyTorch (EoMT: by its processor)",
        page="support-matrix-transformers",
        models=transformers_models,
        title="Support matrix: transformers",
        command="python -m matrix --source transformers",
        families=families_transformers.FAMILIES,
        parts=(FORM, *MODES),
        made_by=(
            "segplug",
            "segplug-torch",
            "segplug-transformers",
            "segplug-onnx",
            "transformers",
            *LIBRARIES,
        ),
        missing=_missing_transformers,
    ),
}
