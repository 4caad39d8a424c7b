"""What reading a config has in common in mmcv and in mmengine: the errors, the overrides, the quiet.

Both run a config as a program, so that it may raise or print anything.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from segplug.errors import ModelError, SegplugError, UsageError, is_interrupt
from segplug.progress import Reporter
from segplug_mmseg.compat import process_lock, report_warnings
from segplug_mmseg.explain import INSTALL_IT, one_line
from segplug_mmseg.yaml_files import YamlError, plain_yaml

__all__ = ["merge", "reading"]

_READERS = ("_file2dict", "_parse_lazy_import", "_is_lazy_import")
"""The functions of mmcv and mmengine that read one file, whose path is their ``filename``."""
_IMPORTING = "Failed to import custom modules from "
"""How mmcv and mmengine begin the message for ``custom_imports``; their search path follows, line by line."""


@contextlib.contextmanager
def reading(location: str, reporter: Reporter | None) -> Iterator[None]:
    """Read a config while the block runs: YAML as plain data, prints on stderr, warnings to ``reporter``.

    Raises:
        ModelError: what the config or the framework raises in the block, with the file and the line.
    """
    with process_lock:
        search_path = list(sys.path)
        try:
            with report_warnings(reporter), plain_yaml(), contextlib.redirect_stdout(sys.stderr):
                yield
        except BaseException as error:  # a config is a program, and may raise anything
            sys.path[:] = search_path  # mmcv leaves its temporary folder there when a config fails
            _close_temporary_files(error)
            if is_interrupt(error) or (isinstance(error, SegplugError) and not isinstance(error, YamlError)):
                raise
            raise _unreadable(location, error) from error


def merge(config: Any, options: dict[str, Any]) -> None:
    """Merge overrides into a config of mmcv or mmengine.

    Raises:
        UsageError: one cannot be applied; it is named.
    """
    try:
        config.merge_from_dict(options)
    except Exception as error:
        for key, value in options.items():
            try:
                config.merge_from_dict({key: value})
            except Exception as cause:
                raise UsageError(f"--cfg-options {key}={value}: {one_line(cause)}") from cause
        raise UsageError(f"--cfg-options {' '.join(options)}: {one_line(error)}") from error


def _unreadable(location: str, error: BaseException) -> ModelError:
    """The error for a config that cannot be read: what its code raised, and in which line."""
    hint, reason, place = None, one_line(error), _place(error)
    syntax = _syntax_error(error)
    if isinstance(error, SegplugError):
        hint, reason = error.hint, error.message
    elif syntax is not None:
        reason = f"SyntaxError: {syntax.msg}"
        place = place.replace(", in ", f", in line {syntax.lineno} of ", 1)
    elif isinstance(error, ImportError):
        hint = INSTALL_IT
        if str(error).startswith(_IMPORTING):
            reason = f"`custom_imports`: {one_line(_first(error))}"
    elif _is_call_of_import(error):
        reason = (
            "RuntimeError: a class that a new-style config imports has only its name there; it was called"
        )
    elif isinstance(error, RecursionError):
        reason = f"it is nested too deeply, or its code or a base leads back to itself ({reason})"
    return ModelError(f"cannot read the config {location}: {reason}{place}", hint=hint)


def _is_call_of_import(error: BaseException) -> bool:
    """Whether a new-style config called what it imports; mmengine raises an error without a message."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__") == "mmengine.config.lazy"


def _syntax_error(error: BaseException) -> SyntaxError | None:
    """The parser's own error, where a config is no Python; mmcv replaces it by one without a line."""
    if not isinstance(error, SyntaxError):
        return None
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, SyntaxError) and found.lineno and found.filename == "<unknown>":
            return found
        found = found.__cause__ or found.__context__
    return None


def _first(error: BaseException) -> BaseException:
    """The first of the errors that led to one."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return error


def _place(error: BaseException) -> str:
    """Where the innermost config of the traceback was: ``, in line 3 of base.py``; a text to be added."""
    place, configs = "", {}
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name in _READERS:
            path = str(frame.f_locals.get("filename"))
            original = os.path.relpath(path)
            copied = frame.f_locals.get("temp_config_file")  # mmcv runs a copy of each config
            configs[getattr(copied, "name", path)] = configs[path] = original
            place = f", in {original}"
        elif frame.f_code.co_filename in configs:
            place = f", in line {line} of {configs[frame.f_code.co_filename]}"
    return place


def _close_temporary_files(error: BaseException) -> None:
    """Close the files that mmcv left open: each would print a traceback when it is garbage-collected."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        file = frame.f_locals.get("temp_config_file")
        if file is not None:
            with contextlib.suppress(OSError):  # its folder is gone already
                file.close()
