"""Check what a file of PyTorch's may do before PyTorch opens it.

Such a file is a program: a pickle in it may call any function, the text of a size is evaluated as Python, and
an operator may write files. A file is opened if all that it names is on the lists of this package. What
is not there may be harmless, too: it needs the user's trust.

The lists do not bound the memory and the time of what the program computes, and PyTorch's own operators
are not made for hostile input: the check keeps a file from reading and writing files and from running
other code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segplug.errors import UntrustedError
from segplug_torchscript.checks.findings import Finding
from segplug_torchscript.checks.layout import Members, checked_members

__all__ = ["check_program", "check_script", "refuse_compiled"]


def check_script(path: Path) -> None:
    """Check a TorchScript file: its code, and its pickles.

    Raises:
        UntrustedError: it may do more than compute, or segplug cannot tell.
    """
    from segplug_torchscript.checks.script_archive import check

    _check(path, check)


def check_program(path: Path) -> None:
    """Check a torch.export program: its operators, expressions, names and pickles.

    Raises:
        UntrustedError: it may do more than compute, or segplug cannot tell.
    """
    from segplug_torchscript.checks.program_archive import check

    _check(path, check)


def refuse_compiled(path: Path) -> None:
    """Raise :class:`UntrustedError` for a compiled package: nobody can check machine code."""
    raise UntrustedError(f"{path} holds machine code, which cannot be checked")


def _check(path: Path, check: Callable[[Members], None]) -> None:
    try:
        with checked_members(path) as members:
            check(members)
    except Finding as finding:
        raise UntrustedError(f"{path} {finding}") from finding
    except (RecursionError, MemoryError) as error:
        raise UntrustedError(f"{path} is nested too deeply to be checked") from error
