"""The curves of training logs: mmcv's ``.log.json`` and mmengine's ``scalars.json``."""
