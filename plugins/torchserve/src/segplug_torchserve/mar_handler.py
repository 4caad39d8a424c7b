"""What TorchServe imports from an archive: the work is that of segplug_torchserve, installed beside it."""

try:
    from segplug_torchserve.handler import Handler as _Handler
except ImportError as error:
    # Not an ImportError again: TorchServe takes that for a handler of its own, and hides the words.
    raise RuntimeError(
        f"this model needs segplug where TorchServe runs: pip install 'segplug-torchserve[server]' "
        f"and what segplug-requirements.txt in the archive lists ({error})"
    ) from error


class Handler(_Handler):
    """TorchServe looks for exactly one class that this module itself defines."""
