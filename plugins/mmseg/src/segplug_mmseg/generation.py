"""What differs between the generations of mmsegmentation, as one interface; and the one that is installed.

``v0`` has what belongs to mmsegmentation 0.x with mmcv 1.x, ``v1`` what belongs to 1.x with mmengine. A
generation is imported when it is needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from segplug_mmseg.installed import Name, installed_mmseg

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from segplug.dataset import LabelFormat
    from segplug.preprocessing import Decoding
    from segplug.progress import Reporter
    from segplug_mmseg.meta import ConfigFacts, Head

__all__ = ["Generation", "Part", "installed_generation"]


class Generation(Protocol):
    """Reads configs, and builds what they describe, with the classes of one generation."""

    def read_config(
        self, location: str, cfg_options: Mapping[str, Any] | None = None, *, reporter: Reporter | None = None
    ) -> Any:
        """The config with its bases and overrides, as this generation has it: an older one is upgraded.

        Raises:
            UsageError: the file is not there, or an override cannot be applied.
            ModelError: it cannot be read, or not be upgraded.
        """

    def read_settings(
        self, location: str, cfg_options: Mapping[str, Any] | None = None, *, reporter: Reporter | None = None
    ) -> Mapping[str, Any]:
        """The settings of a config with its bases and overrides, as they are, and as one file can hold them.

        Raises:
            UsageError: the file is not there, or an override cannot be applied.
            ModelError: it cannot be read, or it has a class where a file can hold no more than its name.
        """

    def runnable_model(self, config: Any, location: str, *, for_training: bool = False) -> Any:
        """Settings of a network for inference: nothing is downloaded, no process group is needed.

        Raises:
            ModelError: the config has no model.
        """

    def build_segmentor(
        self, settings: Any, location: str, reporter: Reporter, *, initialise: bool
    ) -> nn.Module:
        """The network of :meth:`runnable_model`'s settings; its weights initialised if asked.

        Raises:
            ModelError: it cannot be built.
        """

    def read_facts(
        self,
        config: Any,
        *,
        head: Head,
        takes: Callable[[int], bool] = lambda _: False,
        approximate: bool = False,
        reporter: Reporter,
    ) -> ConfigFacts:
        """What the config says about the model, besides the network.

        Args:
            config: As :meth:`read_config` gave it.
            head: The network's input and output.
            takes: Whether the network runs with so many input channels; asked only where its first
                convolution and the test pipeline differ.
            approximate: Leave out what of the test pipeline cannot be expressed, and list it.
            reporter: Gets a warning for what the config does not say.

        Raises:
            ModelError: images do not fit the network, a setting cannot be read, or the test pipeline cannot
                be expressed.
        """

    def palette_of_class(self, name: str) -> tuple[tuple[int, int, int], ...]:
        """The colours of a data set class of this name; empty if there is none."""

    def open_parts(self, config: Any, location: str, reporter: Reporter) -> tuple[list[Part], bool]:
        """The data sets of the config's test data; whether they are scored separately.

        Raises:
            DatasetError: there are none, or one cannot be opened.
        """


class Part(Protocol):
    """One data set: its samples, and how their images and masks are read. Any thread may read it."""

    @property
    def setting(self) -> str:
        """The setting of the config that describes it, for messages."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in label order."""

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Their colours, if there are any."""

    @property
    def title(self) -> str:
        """The name of its class and of its images' folder."""

    @property
    def label_format(self) -> LabelFormat | None:
        """The format in which its evaluation server wants label maps."""

    @property
    def ignore_index(self) -> Any:
        """The label that is not scored."""

    @property
    def has_masks(self) -> bool:
        """Whether there are masks."""

    @property
    def reduces_zero_label(self) -> bool:
        """Whether the zero label of masks becomes the ignored one."""

    @property
    def masks_hint(self) -> str:
        """Without masks: what to set to get them."""

    @property
    def nan_to_num(self) -> float | None:
        """The score of a class that does not occur; ``None``: it has none."""

    @property
    def beta(self) -> float:
        """The weight of recall in the F-score."""

    def indices(self) -> Iterator[int]:
        """The indices of the samples, repeated ones included."""

    def name(self, index: int) -> str:
        """The image's path in its folder."""

    def image_path(self, index: int) -> Path:
        """The file of the image."""

    def mask_path(self, index: int) -> Path | None:
        """The file of the mask; ``None``: there is none."""

    def read_image(self, index: int, decoding: Decoding) -> npt.NDArray[Any]:
        """The image, ``(H, W, C)``, of the type that its loader gives."""

    def read_mask(self, index: int) -> npt.NDArray[Any]:
        """The labels that are scored, uint8 ``(H, W)``; uint16 where there are more than 256."""

    def describe(self) -> dict[str, Any]:
        """All that changes how images and masks are read, and every sample's name; for a fingerprint."""


_MODULES: Mapping[Name, str] = {"0.x": "segplug_mmseg.v0.generation", "1.x": "segplug_mmseg.v1.generation"}


def installed_generation() -> Generation:
    """The generation of the installed mmsegmentation.

    Raises:
        MissingDependencyError: none is installed, or two are.
    """
    return cast(Generation, importlib.import_module(_MODULES[installed_mmseg().generation]))
