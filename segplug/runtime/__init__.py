"""Run any engine on any data set: read, preprocess, slide, stitch, score, paint, resume.

Nothing is imported here, so that ``import segplug.runtime`` costs nothing:

* :mod:`~segplug.runtime.pipeline`: :func:`~segplug.runtime.pipeline.run`, which does it all;
* :mod:`~segplug.runtime.read`, :mod:`~segplug.runtime.preprocess`, :mod:`~segplug.runtime.slide`,
  :mod:`~segplug.runtime.postprocess`: the steps of one image;
* :mod:`~segplug.runtime.score`, :mod:`~segplug.runtime.paint`, :mod:`~segplug.runtime.sinks`:
  what becomes of its labels; :mod:`~segplug.sink`: what every sink keeps to;
* :mod:`~segplug.runtime.journal`: how an interrupted run goes on;
* :mod:`~segplug.runtime.folder`: the data-set source ``folder``, and lists of image files.
"""
