"""Check a TorchScript file: its code, which PyTorch compiles, and its pickles, which PyTorch unpickles.

PyTorch's own unpickler for these files calls no Python. It makes objects of the classes in the file's code,
and runs their ``__setstate__``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from segplug_torchscript.checks.findings import Finding, shown
from segplug_torchscript.checks.layout import Members
from segplug_torchscript.checks.script_code import check_code
from segplug_torchscript.checks.script_pickles import check_pickle
from segplug_torchscript.checks.script_types import Object, check_types, declared_types

__all__ = ["check"]

_CODE = re.compile(r"code/__torch__(/[\w.$-]+)*\.py")
_PICKLES = re.compile(r"(data|constants|traced_inputs)\.pkl|code/__torch__(/[\w.$-]+)*\.py\.debug_pkl")
_DATA = re.compile(
    r"(data|constants|traced_inputs)/[\w.-]+|version|byteorder|\.data/(serialization_id|version)"
    r"|\.format_version|\.storage_alignment|extra/.*"
)
"""Tensors and notes, of which nothing is run."""


def check(members: Members) -> None:
    """Check every entry.

    Raises:
        Finding: one may do more than compute, or is not known.
    """
    objects: list[Object] = []
    classes: dict[str, Mapping[str, ast.expr]] = {}
    for name in members.sizes:
        if _PICKLES.fullmatch(name):
            objects += check_pickle(name, members)
        elif _CODE.fullmatch(name):
            module = name.removeprefix("code/").removesuffix(".py").replace("/", ".")
            classes |= declared_types(module, check_code(name, members.read(name)))
        elif not _DATA.fullmatch(name):
            raise Finding(f"holds {shown(name)}, which segplug cannot check")
    check_types(objects, classes)
