"""Read image and mask files: arrays of any channels and type, decoded as a model's source decodes them."""

from segplug.runtime.reading.files import decode_image, read_image, read_mask
from segplug.runtime.reading.given import ArrayOrder, given_image
from segplug.runtime.reading.limits import MAX_BYTES, MAX_PIXELS, TooLargeError
from segplug.runtime.reading.masks import decode_mask, label_table
from segplug.runtime.reading.tiff_header import is_tiff

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "ArrayOrder",
    "TooLargeError",
    "decode_image",
    "decode_mask",
    "given_image",
    "is_tiff",
    "label_table",
    "read_image",
    "read_mask",
]
