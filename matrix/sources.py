"""What the matrix can measure: each source of models, with its families, its pages and its versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from matrix import (
    families,
    families_mmseg1,
    families_smp,
    families_transformers,
    mmseg_models,
    smp_models,
    torchvision_models,
    transformers_models,
)
from matrix.families import Case
from matrix.rows import FORM, FORMATS, MODES
from scripts import proofs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.api import Segplug
    from segplug.model import SegmentationModel

__all__ = ["SOURCES", "Models", "Source"]

LIBRARIES = ("segplug", "segplug-torch", "torch", "numpy")
"""What every measurement depends on."""
ONNX = ("segplug-onnx", "onnx", "onnxruntime", "onnxscript")
"""What ONNX files depend on, too; the rows of a form name them as well."""
OTHERS = ("segplug-torchscript",)
"""What files of other formats depend on in their place."""


WINDOWS = "the same windows, cut and added up by PyTorch"


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

    title: str
    """What it is called on the page."""
    what: str
    """What is exported, in one sentence."""
    slide_reference: str
    """Whose slide inference is the reference."""
    models: Models
    command: str
    families: Mapping[str, Case]
    parts: tuple[str, ...]
    """What is measured of each family: some of ``matrix.rows.PARTS``."""
    made_by: tuple[str, ...]
    """The distributions of the framework."""
    missing: Callable[[], str | None]
    """Returns why this environment cannot measure it, or ``None``. Called before anything else."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Families that are not measured, and why."""
    has_engines: bool = False
    """Whether engines of its families are built by :mod:`matrix.engines`."""

    def versions(self, part: str) -> dict[str, str]:
        """The installed versions that the measurement of a part depends on."""
        found = {}
        for name in (*self.made_by, *LIBRARIES, *(OTHERS if part in FORMATS else ONNX)):
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


def _missing_package(name: str) -> str | None:
    return None if find_spec(name) is not None else f"{name} is not installed"


def _missing_proof(name: str) -> str | None:
    """Of a package that ``make setup`` keeps apart; it can be imported after the call."""
    proofs.install()
    return _missing_package(name)


SOURCES: Mapping[str, Source] = {
    "mmseg0": Source(
        title="mmseg 0.x",
        what="One config of each family of mmsegmentation 0.30.",
        slide_reference="mmseg's own slide inference",
        models=mmseg_models,
        command="python -m matrix",
        has_engines=True,
        families=families.FAMILIES,
        parts=(*MODES, *FORMATS),
        made_by=("segplug-mmseg", "mmsegmentation", "mmcv", "mmcv-full"),
        missing=partial(_missing_mmseg, "0.x"),
    ),
    "mmseg1": Source(
        title="mmseg 1.x",
        what="One config of each family of mmsegmentation 1.2.",
        slide_reference="mmseg's own slide inference",
        models=mmseg_models,
        command="python -m matrix --source mmseg1",
        families=families_mmseg1.FAMILIES,
        parts=(FORM, *MODES, *FORMATS),
        made_by=(
            "segplug-mmseg",
            "mmsegmentation",
            "onedl-mmsegmentation",
            "mmcv",
            "mmcv-lite",
            "mmengine",
            "mmdet",
            "mmpretrain",
        ),
        missing=partial(_missing_mmseg, "1.x"),
        left_out=families_mmseg1.LEFT_OUT,
    ),
    "transformers": Source(
        title="transformers",
        what="One network of each segmentation class of transformers.",
        slide_reference=f"{WINDOWS} (EoMT: by its processor)",
        models=transformers_models,
        command="python -m matrix --source transformers",
        families=families_transformers.FAMILIES,
        parts=(FORM, *MODES, *FORMATS),
        made_by=("segplug-transformers", "transformers"),
        missing=partial(_missing_package, "transformers"),
    ),
    "smp": Source(
        title="smp",
        what="The 12 architectures of segmentation-models-pytorch, and encoders, inputs and outputs of other "
        "kinds.",
        slide_reference=WINDOWS,
        models=smp_models,
        command="python -m matrix --source smp",
        families=families_smp.FAMILIES,
        parts=(FORM, *MODES, *FORMATS),
        made_by=("segplug-smp", "segmentation-models-pytorch", "timm", "torchvision"),
        missing=partial(_missing_proof, "segmentation_models_pytorch"),
    ),
    "torchvision": Source(
        title="torchvision",
        what="The 6 segmentation networks of torchvision.",
        slide_reference=WINDOWS,
        models=torchvision_models,
        command="python -m matrix --source torchvision",
        families=torchvision_models.FAMILIES,
        parts=(FORM, *MODES, *FORMATS),
        made_by=("segplug-torchvision", "torchvision"),
        missing=partial(_missing_proof, "torchvision"),
    ),
}
