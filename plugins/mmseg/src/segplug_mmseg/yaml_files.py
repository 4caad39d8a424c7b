"""Read YAML files as plain data: a tag can call any function, and a few lines of aliases can mean gigabytes.

mmcv and mmengine themselves read configs, and the bases of configs, with PyYAML's full loader.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from segplug.errors import ModelError, first_line
from segplug_mmseg.installed import installed_mmseg

__all__ = ["YamlError", "plain_yaml", "read_plain_yaml", "refuse_excess"]

_MOST_NODES = 200_000
"""Values in a config, each as often as aliases repeat it; mmseg's own have up to some thousand."""
_DEEPEST = 100
_MOST_TEXT = 8 << 20
_TUPLE = "tag:yaml.org,2002:python/tuple"
"""The one tag of Python's that mmcv and mmengine write themselves."""


class YamlError(ModelError):
    """A YAML file is damaged, holds more than plain data, or is too large."""


def read_plain_yaml(text: str) -> Any:
    """The content of a YAML file: dicts, lists, tuples, texts, numbers, dates.

    Raises:
        YamlError: it has another tag, or is no YAML, or is too large when it is written out.
    """
    import yaml

    refuse_excess(text)
    try:
        return yaml.load(text, Loader=_loader())
    except yaml.constructor.ConstructorError as error:
        raise YamlError(
            f"a YAML file may hold plain data only, and {first_line(Exception(error.problem))}",
            hint="write what needs code as a .py config",
        ) from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise YamlError(f"this is no YAML: {' '.join(str(error).split())[:300]}") from error


def _loader() -> Any:
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    def as_tuple(loader: Any, node: Any) -> tuple[Any, ...]:
        return tuple(loader.construct_sequence(node, deep=True))

    Loader.add_constructor(_TUPLE, as_tuple)
    return Loader


def refuse_excess(text: str) -> None:
    """Refuse a YAML file that is nested too deeply, or too large when its aliases are written out.

    Only the events of the parser are looked at: nothing is built.

    Raises:
        YamlError: it is, or it is no YAML.
    """
    import yaml

    if len(text) > _MOST_TEXT:
        raise YamlError(f"a config of {len(text):,} characters is not read")
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.AliasEvent):
                if event.anchor not in sizes:
                    raise YamlError(f"the alias *{event.anchor} has no end, or no beginning")
                total += sizes[event.anchor]
            elif isinstance(event, yaml.NodeEvent):
                total += 1
                if isinstance(event, yaml.CollectionStartEvent):
                    open_nodes.append((event.anchor, total - 1))
                elif event.anchor:
                    sizes[event.anchor] = 1
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, before = open_nodes.pop()
                if anchor:
                    sizes[anchor] = total - before
            if len(open_nodes) > _DEEPEST:
                raise YamlError(f"it is nested more than {_DEEPEST} times")
            if total > _MOST_NODES:
                raise YamlError(f"with its aliases written out it holds more than {_MOST_NODES:,} values")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlError(f"this is no YAML: {' '.join(str(error).split())[:300]}") from error


@contextmanager
def plain_yaml() -> Iterator[None]:
    """Let mmcv, or mmengine, read YAML as plain data while the block runs."""
    fileio = "mmcv.fileio" if installed_mmseg().generation == "0.x" else "mmengine.fileio"
    io = importlib.import_module(f"{fileio}.io")

    class Plain(importlib.import_module(f"{fileio}.handlers").YamlHandler):  # type: ignore[misc]
        def load_from_fileobj(self, file: Any, **_: Any) -> Any:
            return read_plain_yaml(file.read())

    handler = Plain()
    with mock.patch.dict(io.file_handlers, {"yaml": handler, "yml": handler}):
        yield
