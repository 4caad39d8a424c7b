"""The test pipeline of an mmcv 1.x config, as plain data: how files are decoded, and ordered steps.

``settings`` finds pipelines in a config; ``loading`` reads the transform that loads images; ``augmentation``
reads the views of test-time augmentation; ``translation`` turns transforms into steps; ``channels`` finds how
many channels images have; ``reading`` puts them together. Every number is mmseg's own. What cannot be
expressed is an error that names the transform, unless approximations are allowed.
"""

from __future__ import annotations

from segplug_mmseg.v0.pipeline.loading import is_mmsegs, split_loader
from segplug_mmseg.v0.pipeline.reading import read_pipeline
from segplug_mmseg.v0.pipeline.settings import data_settings

__all__ = ["data_settings", "is_mmsegs", "read_pipeline", "split_loader"]
