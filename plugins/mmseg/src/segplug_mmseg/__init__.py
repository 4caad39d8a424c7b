"""Models and data sets of mmsegmentation 0.30, and the PyTorch engine.

What belongs to mmcv 1.x (``compat``, ``config``, ``checkpoint``, ``pipeline``, ``meta``, ``loader``,
``datasets``, ``label_formats``) is apart from what belongs to the networks and serves any generation
of the framework (``network``, ``exportable``, ``engine``, ``devices``).
"""
