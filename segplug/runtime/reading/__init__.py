"""Read image and mask files: arrays of any channels and type, as a :class:`segplug.Decoding` says."""

from segplug.runtime.reading.files import (
    MAX_PIXELS,
    TooLargeError,
    decode_image,
    label_table,
    read_image,
    read_mask,
)

__all__ = ["MAX_PIXELS", "TooLargeError", "decode_image", "label_table", "read_image", "read_mask"]
