"""Models and data sets of mmsegmentation 0.30.

The modules that belong to mmcv 1.x (``compat``, ``recognise``, ``config``, ``checkpoint``, ``pipeline``,
``meta``, ``loader``, ``datasets``, ``leaves``, ``label_formats``) are separate from those that belong to the
networks and serve every generation of the framework (``network``, ``exportable``, ``backbone``, ``ops``).
"""
