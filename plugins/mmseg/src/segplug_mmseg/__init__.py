"""Models and data sets of mmsegmentation, 0.30 and 1.x.

``installed`` says which generation is there, ``generation`` is the interface to both: ``v0`` has what belongs
to 0.x with mmcv 1.x, ``v1`` what belongs to 1.x with mmengine (configs, pipelines, data sets). All other
modules serve both.
"""
