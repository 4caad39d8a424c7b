"""What every server of segplug does with a request, whatever library speaks HTTP for it.

Nothing is imported here:

* :mod:`~segplug.serving.requests`: what a request may hold, and what is refused;
* :mod:`~segplug.serving.service`: requests in, answers out, each on its own;
* :mod:`~segplug.serving.answers`: label masks, painted images, class shares;
* :mod:`~segplug.serving.served`: what a server runs, as a file beside the model, and how it is opened;
* :mod:`~segplug.serving.client`, :mod:`~segplug.serving.remote`: the other side, and a server as an engine;
  :mod:`~segplug.serving.options`: what a user chooses of it.
"""
