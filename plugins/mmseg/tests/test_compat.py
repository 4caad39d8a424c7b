from __future__ import annotations

import logging
import subprocess
import sys
import threading
import warnings

import pytest
from segplug_mmseg import ops
from segplug_mmseg.compat import has_compiled_ops, import_mmseg, report_warnings
from segplug_mmseg.installed import installed_mmseg
from segplug_mmseg.reading import reading

from segplug.errors import MissingDependencyError
from segplug.progress import QuietReporter

INSTALLED = installed_mmseg()


def in_new_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip() + result.stderr.strip()


def test_importing_is_silent_and_leaves_no_stand_in_behind():
    code = """
import sys
from segplug_mmseg.compat import import_mmseg
assert import_mmseg() is import_mmseg()
for name in ("torchvision", "mmcv._ext"):
    module = sys.modules.get(name)
    assert module is None or module.__spec__ is not None, name
from mmseg.models import build_segmentor
from mmcv.utils.ext_loader import check_ops_exist
print("compiled" if check_ops_exist() else "lite")
"""
    assert in_new_python(code) in ("compiled", "lite")


def test_provider_modules_import_no_framework():
    code = """
import sys
import segplug_mmseg.loader, segplug_mmseg.datasets
assert segplug_mmseg.loader.provider.accepts("missing.py")
print([n for n in ("torch", "mmcv", "mmseg", "cv2", "numpy") if n in sys.modules])
"""
    assert in_new_python(code) == "[]"


@pytest.mark.skipif(INSTALLED.generation == "1.x", reason="mmcv 1 alone imports torchvision")
def test_a_real_torchvision_is_used_as_it_is(tmp_path):
    (tmp_path / "torchvision.py").write_text("__version__ = '0.99.0'")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from segplug_mmseg.compat import import_mmseg
import_mmseg()
import mmcv.runner.checkpoint as checkpoint
print(checkpoint.torchvision.__version__, sys.modules["torchvision"].__version__)
"""
    assert in_new_python(code) == "0.99.0 0.99.0"


def test_a_torchvision_that_breaks_on_import_leaves_nothing_behind(tmp_path):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "part.py").write_text("")
    (package / "__init__.py").write_text(
        "import torchvision.part\nraise RuntimeError('operator torchvision::nms does not exist')"
    )
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from segplug_mmseg.compat import import_mmseg
import_mmseg()
print([name for name in sys.modules if name.startswith("torchvision")])
"""
    assert in_new_python(code) == "[]"


@pytest.mark.parametrize("missing", ["mmcv", "mmseg"])
def test_a_missing_library_names_the_command(missing):
    code = f"""
import sys
sys.modules[{missing!r}] = None
from segplug_mmseg.compat import import_mmseg
from segplug.errors import MissingDependencyError
try:
    import_mmseg()
except MissingDependencyError as error:
    print(error)
"""
    assert '"segplug-mmseg[mmseg0]" for 0.x' in in_new_python(code)


def test_another_generation_of_mmcv_is_refused(tmp_path):
    other, needed = {"0.x": ("2.1.0", "mmcv 1.7"), "1.x": ("1.7.2", "mmcv 2.1")}[INSTALLED.generation]
    (tmp_path / "mmcv.py").write_text(f"__version__ = '{other}'")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from segplug_mmseg.compat import import_mmseg
from segplug.errors import MissingDependencyError
try:
    import_mmseg()
except MissingDependencyError as error:
    print(error)
"""
    assert f"mmcv {other} is installed, {INSTALLED} needs {needed}" in in_new_python(code)


def test_a_compiled_operator_says_what_it_needs_when_it_is_called():
    import_mmseg()
    if has_compiled_ops():
        pytest.skip("mmcv-full is installed")
    from mmcv.ops import psa_mask

    compiled = {"0.x": "mmcv-full", "1.x": "mmcv"}[INSTALLED.generation]
    with pytest.raises(MissingDependencyError, match=rf"compiled {compiled} \(operator 'psamask_backward'\)"):
        psa_mask.ext_module.psamask_backward()


def test_an_operator_in_plain_torch_stands_in_only_for_a_missing_one():
    import_mmseg()
    from mmcv.ops import psa_mask

    stands_in = psa_mask.ext_module.psamask_forward is ops.psamask_forward
    assert stands_in is not has_compiled_ops()


def test_the_network_says_nothing_about_alignment_while_it_runs():
    place = {"0.x": "mmseg.ops", "1.x": "mmseg.models.utils"}[INSTALLED.generation]
    code = f"""
from segplug_mmseg.compat import import_mmseg
import_mmseg()
import torch
from {place} import resize
resize(torch.zeros(1, 1, 16, 16), size=(128, 128), mode="bilinear", align_corners=True)
"""
    assert in_new_python(code) == ""


def test_quiet_drops_log_lines_of_habit(caplog):
    logger = logging.getLogger("mmseg")
    with report_warnings():
        logger.warning("No pre-trained weights for SwinTransformer, training start from scratch")
        logger.info("Loaded 3 images")
        logger.warning("something is odd")
    logger.warning("No pre-trained weights, said outside")
    assert caplog.messages == ["something is odd", "No pre-trained weights, said outside"]


def test_quiet_drops_chatter_and_passes_real_warnings_on():
    reporter = QuietReporter()
    with report_warnings(reporter):
        warnings.warn("DeprecationWarning: pretrained is a deprecated, please use init_cfg", stacklevel=1)
        warnings.warn("for developers", DeprecationWarning, stacklevel=1)
        warnings.warn("the weights look\n  odd", stacklevel=1)
        warnings.warn("the weights look\n  odd", stacklevel=1)
    assert reporter.warnings == ["the weights look odd"]


def test_threads_leave_standard_output_as_it_was():
    import_mmseg()
    before, show = sys.stdout, warnings.showwarning
    inside, ended = threading.Event(), threading.Event()

    def first() -> None:
        with reading("a.py", None):
            inside.set()
            ended.wait(0.2)  # it would end inside of the second one, if that could begin
        ended.set()

    def second() -> None:
        inside.wait()
        with reading("b.py", None):
            ended.wait(5)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sys.stdout, warnings.showwarning) == (before, show)
