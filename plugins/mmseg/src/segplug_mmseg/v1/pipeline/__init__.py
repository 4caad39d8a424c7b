"""The preprocessing of a config of mmsegmentation 1.x, as plain data: how files are decoded, and steps.

``settings`` finds data sets and pipelines in a config; ``transforms`` finds and builds transforms as mmengine
does; ``loading`` reads the one that loads images; ``translation`` turns the others into steps;
``augmentation`` reads the views of test-time augmentation; ``data_preprocessor`` reads what follows the
pipeline; ``reading`` puts them together. Every number is mmseg's own. What cannot be expressed is an error
that names the transform, unless approximations are allowed.
"""

from __future__ import annotations

from segplug_mmseg.v1.pipeline.reading import read_pipeline
from segplug_mmseg.v1.pipeline.settings import data_sets, split_data, test_data, test_pipelines

__all__ = ["data_sets", "read_pipeline", "split_data", "test_data", "test_pipelines"]
