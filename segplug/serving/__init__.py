"""The parts that all HTTP servers of segplug share, and their client.

This package imports none of its modules:

* :mod:`~segplug.serving.requests`: reads and checks requests;
* :mod:`~segplug.serving.service`: answers requests with an engine;
* :mod:`~segplug.serving.answers`: label masks, painted images, class shares;
* :mod:`~segplug.serving.served_model`: the description of a served model, and how to open the model;
* :mod:`~segplug.serving.client`: the client;
* :mod:`~segplug.serving.remote`: an ``infer`` target that runs images on a server;
  :mod:`~segplug.serving.remote_engine`: its engine.
"""
