"""Pretrained weights, loaded strictly into the backbone of a config's model.

``fit`` compares, lists and loads; ``settings`` reads the network's settings; ``resize`` resizes tables of
positions to the network's size as mmseg does when it loads ``init_cfg=dict(type='Pretrained')``;
``geometric`` is the one method of doing so that needs SciPy.
"""

from __future__ import annotations

from segplug_mmseg.backbone.fit import find_backbone, fit
from segplug_mmseg.backbone.settings import settings_of
from segplug_mmseg.backbone.structure import Uninitialised

__all__ = ["Uninitialised", "find_backbone", "fit", "settings_of"]
