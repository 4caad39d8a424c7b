"""The processes of a session, as ``start_new_session`` makes one."""

from __future__ import annotations

import contextlib
import os

import psutil


def session_of(pid: int) -> list[psutil.Process]:
    """Every process of a session, zombies left out."""
    found = []
    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == pid and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
