"""``infer torchserve``: runs images on a TorchServe. It needs no TorchServe on this machine."""

from __future__ import annotations

from segplug.serving.remote import RemoteBackend

__all__ = ["provider"]


class TorchServeBackend(RemoteBackend):
    """Runs images on a TorchServe whose model was packed by `segplug export torchserve`.

    Images are sent as PNG, those of other channels or types as .npy, and label masks come back. The server
    does the preprocessing and sliding.
    """


provider = TorchServeBackend()
