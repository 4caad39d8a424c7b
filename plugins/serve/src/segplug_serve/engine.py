"""``infer http``: runs images on a ``segplug serve``. It needs no model on this machine."""

from __future__ import annotations

from segplug.serving.remote import RemoteBackend

__all__ = ["provider"]


class HttpBackend(RemoteBackend):
    """Runs images on a server that `segplug serve` started, on this machine or another.

    Images are sent as PNG, those of other channels or types as .npy, and label masks come back. The server
    does the preprocessing and sliding.
    """


provider = HttpBackend()
