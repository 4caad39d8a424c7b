"""Whether a file is a network of PyTorch's that another tool saved; nothing in it is run."""

from __future__ import annotations

from segplug.errors import SegplugError
from segplug.providers import Confidence
from segplug.regular_files import expanded, is_regular
from segplug_torchscript import archive

__all__ = ["confidence"]


def confidence(location: str, target: str) -> Confidence:
    """Likely for a file of the target's kind without segplug's metadata; with it, it is an artifact.

    Args:
        location: As the user gave it.
        target: ``torchscript`` or ``torch-export``.
    """
    if not location.lower().endswith(archive.SUFFIXES):
        return Confidence.NO
    path = expanded(location)
    try:
        if not is_regular(path) or archive.read_contents(path, target) is None:
            return Confidence.NO
        return Confidence.NO if archive.read_meta(path, target) else Confidence.LIKELY
    except (SegplugError, OSError):  # damaged, or not readable: what opens it says so
        return Confidence.NO
