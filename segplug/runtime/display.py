"""Show pictures in a window on the screen."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from segplug.errors import UsageError
from segplug.runtime.drawing import Drawer, PictureSettings
from segplug.runtime.libraries import opencv
from segplug.sink import ImageResult, Notes, RunContext

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["DisplaySink", "DisplayWindow"]

_POLL_MILLISECONDS = 50
"""While a picture is shown, the run is checked for interruption this often. Milliseconds."""

_OPEN_A_WINDOW = "import cv2; cv2.namedWindow('segplug'); cv2.waitKey(1); cv2.destroyAllWindows()"
_OPENING_TIMEOUT = 20.0
"""How long the test that opens a window may take. Seconds."""


class DisplayWindow:
    """A window on the screen that shows one picture after another.

    Args:
        instead: A hint for the user if there is no display.

    Raises:
        UsageError: there is no display, or this OpenCV is built without windows.
    """

    def __init__(self, *, instead: str) -> None:
        _require_display(instead)

    def show(
        self, picture: npt.NDArray[np.uint8], title: str, *, abandoned: Callable[[], bool] = lambda: False
    ) -> None:
        """Show uint8 ``(H, W, 3)``, BGR, until a key is pressed or it is ``abandoned``."""
        cv2 = opencv()
        cv2.imshow("segplug", picture)
        cv2.setWindowTitle("segplug", title)
        while cv2.waitKey(_POLL_MILLISECONDS) < 0 and not abandoned():
            pass

    def close(self) -> None:
        """Close the window."""
        opencv().destroyAllWindows()


class DisplaySink:
    """Shows each painted image in a window until a key is pressed.

    Args:
        pictures: What is shown; ``None``: the prediction in the data set's colours, else the model's.

    Raises:
        UsageError: there is no display, or this OpenCV is built without windows.
    """

    needs_image = True
    needs_confidence = False

    def __init__(self, pictures: PictureSettings | None = None) -> None:
        self._settings = pictures or PictureSettings()
        self.needs_mask = self._settings.needs_mask
        self._window = DisplayWindow(instead="use --show-dir to write painted images")

    @property
    def key(self) -> str:
        return "window"

    def open(self, run: RunContext) -> None:
        self._draw = Drawer(self._settings, run)
        self._abandoned = run.abandoned

    def consume(self, result: ImageResult) -> Notes:
        self._window.show(self._draw(result), result.name, abandoned=self._abandoned.is_set)
        return {}

    def has(self, index: int, notes: Notes) -> bool:
        return True

    def restore(self, index: int, notes: Notes) -> None:
        pass

    def close(self, *, finished: bool) -> None:
        self._window.close()


def _require_display(instead: str) -> None:
    cv2 = opencv()
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not shown:
        raise UsageError("there is no display to show images on", hint=instead)
    gui = next((line for line in cv2.getBuildInformation().splitlines() if "GUI:" in line), "NONE")
    if gui.split()[-1] == "NONE":
        raise UsageError("this OpenCV is built without windows", hint=instead)
    if not _opens_a_window():
        raise UsageError(f"no window can be opened on the display {shown or 'of this machine'}", hint=instead)


def _opens_a_window() -> bool:
    """Open a window in another process: if the display does not answer, OpenCV ends the process."""
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _OPEN_A_WINDOW], capture_output=True, timeout=_OPENING_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0
