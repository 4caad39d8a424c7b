"""mmengine's default scope: one thread at a time changes it, and it is as before afterwards."""

from __future__ import annotations

import sys
import threading

from mmseg_support.data_sets1 import custom
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.v1.opening import open_parts
from segplug_mmseg.v1.scopes import default_scope

from segplug.progress import QuietReporter

REGISTRY = """
from mmengine.registry import DATASETS as PARENT, Registry
from mmseg.datasets import BaseSegDataset

DATASETS = Registry('dataset', parent=PARENT, scope='scope_of_its_own')

@DATASETS.register_module()
class OnlyHere(BaseSegDataset):
    METAINFO = dict(classes=('p', 'q'), palette=[[1, 2, 3], [4, 5, 6]])
"""


def current() -> str | None:
    from mmengine.registry import DefaultScope

    scope = DefaultScope.get_current_instance()
    return None if scope is None else scope.scope_name


def test_threads_leave_the_scope_as_it_was():
    import_mmseg()
    before = current()
    inside, ended = threading.Event(), threading.Event()
    seen: list[str | None] = []

    def first() -> None:
        with default_scope("mmdet"):
            inside.set()
            ended.wait(0.2)  # the second one would end only after this one
            seen.append(current())
        ended.set()

    def second() -> None:
        inside.wait()
        with default_scope(None):
            ended.wait(5)
            seen.append(current())

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["mmdet", "mmseg"]
    assert current() == before


def test_data_sets_are_of_the_configs_scope(tmp_path, monkeypatch):
    import_mmseg()
    from mmengine.registry import DefaultScope

    package = tmp_path / "scope_of_its_own"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "registry.py").write_text(REGISTRY)
    monkeypatch.syspath_prepend(tmp_path)
    data = custom(tmp_path, type="OnlyHere")
    del data["metainfo"]
    config = {"default_scope": "scope_of_its_own", "test_dataloader": {"dataset": data}}
    with DefaultScope.overwrite_default_scope("mmengine"):  # of a program that uses mmengine itself
        (part,), _ = open_parts(config, "config.py", QuietReporter())
        assert current() == "mmengine"
    assert part.classes == ("p", "q")
    assert type(part.dataset).__module__ == "scope_of_its_own.registry"
    sys.modules.pop("scope_of_its_own", None)
    sys.modules.pop("scope_of_its_own.registry", None)
