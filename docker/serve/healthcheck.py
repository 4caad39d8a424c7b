"""Exits with 0 if every model has a worker that is ready. TorchServe's own /ping does not check that.

It must run where the server runs. key_file.json is read from RUN_DIR, or from the working directory.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ADDRESS = os.environ.get("TS_MANAGEMENT_ADDRESS", "http://127.0.0.1:8081")
KEYS = Path(os.environ.get("RUN_DIR", ".")) / "key_file.json"


def main() -> int:
    """Ask for the models and their workers."""
    try:
        names = [model["modelName"] for model in ask("/models?limit=1000")["models"]]
        waiting = [name for name in names if not is_ready(ask(f"/models/{name}"))]
    except (OSError, ValueError, KeyError) as error:
        print(f"the server does not answer: {error}")
        return 1
    if waiting or not names:
        print(f"no worker is ready: {', '.join(waiting) or 'no model is loaded'}")
        return 1
    return 0


def is_ready(versions: Any) -> bool:
    """Whether a model's default version has a worker that is ready."""
    return any(worker["status"] == "READY" for worker in versions[0]["workers"])


def ask(path: str) -> Any:
    """Ask the management API; an expired token is renewed."""
    try:
        return json.loads(get(path, key("management")))
    except urllib.error.HTTPError as error:
        if error.code != 400 or not KEYS.is_file():
            raise
    get("/token?type=management", key("API"))
    return json.loads(get(path, key("management")))


def key(kind: str) -> str:
    """A key of the server; empty if it requires none."""
    return str(json.loads(KEYS.read_text())[kind]["key"]) if KEYS.is_file() else ""


def get(path: str, token: str) -> bytes:
    """Send a GET request; returns the body of the answer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(ADDRESS + path, headers=headers), timeout=5) as answer:
        return bytes(answer.read())


if __name__ == "__main__":
    sys.exit(main())
