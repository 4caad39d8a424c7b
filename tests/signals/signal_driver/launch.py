"""``python launch.py PLAN ARGUMENTS``: the command line, with a signal at one of its events.

PLAN is JSON: ``roots`` are the folders whose changes are noted; ``log`` is the file to note them in; ``at``
is the number of the event at which the process sends itself ``signal``.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from typing import Any

_CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "shutil.rmtree"}


def is_change(event: str, arguments: tuple[Any, ...], roots: tuple[str, ...]) -> bool:
    """Whether an event is about to change files in one of the folders."""
    if event == "open":
        path, _, flags = arguments
        changes = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    else:
        path, changes = arguments[0] if arguments else None, event in _CHANGES
    if not changes or not isinstance(path, (str, bytes, os.PathLike)):
        return False
    return os.path.abspath(os.fsdecode(path)).startswith(roots)


def watch(plan: dict[str, Any]) -> None:
    """Count the events of this process, and send the signal at the one that the plan says."""
    process, roots = os.getpid(), tuple(plan["roots"])
    events, changes = 0, []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal events
        if os.getpid() != process or event.startswith("object."):
            return
        events += 1
        if plan.get("log") and is_change(event, arguments, roots):
            changes.append(events)
        if events == plan.get("at"):
            os.kill(process, plan["signal"])

    def note() -> None:
        with open(plan["log"], "w", encoding="utf-8") as file:
            json.dump({"events": events, "changes": changes}, file)

    if plan.get("log"):
        atexit.register(note)
    sys.addaudithook(hook)


if __name__ == "__main__":
    watch(json.loads(sys.argv[1]))
    sys.argv = ["segplug", *sys.argv[2:]]
    from segplug.cli import main

    main()
