"""Make docs/images/demo.png: some test scenes, their ground truth and the labels of the exported ONNX file.

Run `make demo` first, which exports the file.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from run import CONFIG, ONNX, ROOT, segplug
from scenes import CLASSES, PALETTE

SCENES = ("0001.png", "0004.png", "0011.png", "0013.png")
COLUMNS = ("image", "ground truth", "ONNX Runtime")
PICTURE = ROOT / "docs" / "images" / "demo.png"
SIZE = (320, 160)
"""Width and height of one panel in the picture."""
GAP, BAND = 4, 26
WHITE, INK = (255, 255, 255), (50, 50, 50)

Image = npt.NDArray[np.uint8]


def main() -> None:
    """Predict, arrange, write."""
    data = ROOT / "demo" / "data"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        segplug([], "infer", "onnxruntime", ONNX, "--dataset", CONFIG, "--format-only", folder)
        for name in SCENES:
            image = cv2.imread(str(data / "images" / "test" / name))
            truth = read_colours(data / "masks" / "test" / name)
            predicted = cv2.imread(str(Path(folder) / name))  # a PNG with the palette
            panels = (shrink(image), shrink(truth, cv2.INTER_NEAREST), shrink(predicted, cv2.INTER_NEAREST))
            rows.append(place_in_row(panels))
    width = rows[0].shape[1]
    picture = np.vstack([draw_titles(width), *[add_gap(row) for row in rows], draw_legend(width)])
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(PICTURE), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"wrote {PICTURE.relative_to(ROOT)} ({PICTURE.stat().st_size / 1e3:.0f} kB)")


def read_colours(path: Path) -> Image:
    """Read a label map as BGR colours."""
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return np.asarray(PALETTE, np.uint8)[labels][:, :, ::-1]


def shrink(panel: Image, how: int = cv2.INTER_AREA) -> Image:
    """Resize a panel to its size in the picture."""
    return cv2.resize(panel, SIZE, interpolation=how)


def place_in_row(panels: tuple[Image, ...]) -> Image:
    """Place panels in a row, with gaps between them."""
    gap = np.full((SIZE[1], GAP, 3), WHITE, np.uint8)
    parts = [part for panel in panels for part in (gap, panel)]
    return np.hstack(parts[1:])


def add_gap(row: Image) -> Image:
    """Add a gap below a row."""
    return np.vstack([row, np.full((GAP, row.shape[1], 3), WHITE, np.uint8)])


def draw_titles(width: int) -> Image:
    """Draw the names of the columns."""
    band = np.full((BAND, width, 3), WHITE, np.uint8)
    for k, name in enumerate(COLUMNS):
        put_text(band, name, k * (SIZE[0] + GAP) + SIZE[0] // 2, centred=True)
    return band


def draw_legend(width: int) -> Image:
    """Draw each class with its colour, evenly spaced."""
    band = np.full((BAND, width, 3), WHITE, np.uint8)
    pitch = width / len(CLASSES)
    for k, (name, colour) in enumerate(zip(CLASSES, PALETTE, strict=True)):
        left = int(k * pitch) + 6
        cv2.rectangle(band, (left, 7), (left + 14, 19), colour[::-1], cv2.FILLED)
        put_text(band, name, left + 20)
    return band


def put_text(band: Image, text: str, x: int, *, centred: bool = False) -> None:
    """Put text on a band."""
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    place = (x - width // 2 if centred else x, 18)
    cv2.putText(band, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)


if __name__ == "__main__":
    main()
