"""The module in an archive that TorchServe imports. The installed segplug_torchserve does the work."""

try:
    from segplug_torchserve.handler import Handler as _Handler
except ImportError as error:
    # Not an ImportError: TorchServe would then look for a handler of its own and hide this message.
    raise RuntimeError(
        f"this model needs segplug where TorchServe runs: pip install 'segplug-torchserve[server]' "
        f"and what segplug-requirements.txt in the archive lists ({error})"
    ) from error


class Handler(_Handler):
    """TorchServe uses the one class that this module defines itself."""
