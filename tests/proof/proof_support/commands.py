"""Run segplug as its users do."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from segplug.cli.root import run_command_line

__all__ = ["run", "run_apart", "served_mask"]


def run(*words: object) -> Any:
    """The JSON document of a command, in this process."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert run_command_line(["run", *map(str, words), "--json"]) == 0
    return json.loads(printed.getvalue())


def run_apart(*words: object) -> Any:
    """The same in a process of its own, which has imported nothing for other tests: transformers prepares
    images otherwise once torchvision is imported.
    """
    command = [sys.executable, "-m", "segplug", "run", *map(str, words), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def served_mask(
    image: npt.NDArray[np.uint8], *model: object, environment: Mapping[str, str] | None = None
) -> npt.NDArray[Any]:
    """The mask that ``segplug serve`` gives for an image.

    Args:
        image: RGB, (H, W, 3).
        model: The words of a command that name the model.
        environment: Of the server; ``None``: that of this process.
    """
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    command = [sys.executable, "-m", "segplug", "serve", *map(str, model), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            lines: list[str] = []
            while not lines or lines[-1] != "}\n":
                lines.append(server.stdout.readline())
                assert lines[-1], "the server ended"
            request = urllib.request.Request(json.loads("".join(lines))["url"], data=content.getvalue())
            with urllib.request.urlopen(request, timeout=60) as answer:
                return np.asarray(Image.open(io.BytesIO(answer.read())))
        finally:
            server.send_signal(signal.SIGTERM)
