"""What a config of mmsegmentation 1.x says about a model, besides the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segplug.preprocessing import Decoding, usual_steps
from segplug.progress import Reporter
from segplug_mmseg.meta import ClassFacts, ConfigFacts, Head
from segplug_mmseg.pipeline.preprocessing import Preprocessing

__all__ = ["palette_of_class", "read_facts"]


def read_facts(
    config: Any,
    *,
    head: Head,
    takes: Callable[[int], bool] = lambda _: False,
    approximate: bool = False,
    reporter: Reporter,
) -> ConfigFacts:
    """Read the data preprocessor, the test pipeline and the test data set's class."""
    mean, std = config["model"]["data_preprocessor"]["mean"], config["model"]["data_preprocessor"]["std"]
    preprocessing = Preprocessing(3, Decoding(), usual_steps(mean, std))
    return ConfigFacts(preprocessing, ClassFacts(""), False, config["model"].get("test_cfg"))


def palette_of_class(name: str) -> tuple[tuple[int, int, int], ...]:
    """The colours of one of mmseg's data set classes; empty if it has none of that name."""
    return ()
