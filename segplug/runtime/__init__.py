"""Run any engine on any data set: read, preprocess, run, postprocess, score, paint, resume.

Nothing is imported here, so that ``import segplug.runtime`` costs nothing:

* :mod:`~segplug.runtime.pipeline`: :func:`~segplug.runtime.pipeline.run`, which does all of it;
* :mod:`~segplug.runtime.reading`, :mod:`~segplug.runtime.preprocess`, :mod:`~segplug.runtime.slide`,
  :mod:`~segplug.runtime.postprocess`: the steps of one image;
* :mod:`~segplug.runtime.score`, :mod:`~segplug.runtime.paint`, :mod:`~segplug.runtime.sinks`:
  score, paint and write its labels; :mod:`~segplug.sink`: the contract of sinks;
* :mod:`~segplug.runtime.journal`: how an interrupted run is resumed;
* :mod:`~segplug.runtime.folder`: the data-set source ``folder``, and lists of image files.
"""
