"""torch.export: a network as a program with symbolic sizes, saved as it is or compiled for one machine.

This module imports torch; it is imported when something is exported or opened, never before.
"""

from __future__ import annotations

import platform
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from segplug_torch.errors import one_line
from torch import nn

from segplug.errors import ArtifactError, DeviceError, MissingDependencyError, ModelError, ShapeError
from segplug.files import scratch_folder, temporary_files_in
from segplug.frozen_sizes import refuse_frozen_sizes
from segplug.model import InputLimits
from segplug.quiet import quiet
from segplug.tracing import export_dimensions

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = [
    "as_text",
    "export",
    "limits_of",
    "load_compiled",
    "load_program",
    "machine",
    "module_of",
    "open_program",
    "require_compiler",
    "save_compiled",
    "save_program",
]

Function = Callable[[torch.Tensor], torch.Tensor]

_CAPABILITIES = ("DEFAULT", "AVX2", "AVX512")
"""PyTorch's names for the instruction sets of x86 CPUs; each includes those before it."""


def export(
    network: nn.Module, sample: torch.Tensor, free: Mapping[int, str], multiple_of: int
) -> ExportedProgram:
    """Trace ``network`` with symbolic sizes.

    Args:
        network: In eval mode; neither it nor its parameters are changed.
        sample: Float32 ``(N, C, H, W)`` on the network's device. Only its shape matters.
        free: The axes of the input that may vary, and their names.
        multiple_of: What free heights and widths are multiples of.

    Raises:
        ShapeError: the network itself cannot take the sample's shape.
        ModelError: it cannot be exported, or not with these axes free.
    """
    shapes = (export_dimensions(free, multiple_of),) if free else None
    with quiet(), torch.no_grad():
        try:
            program = torch.export.export(network, (sample,), dynamic_shapes=shapes, strict=False)
        except MemoryError:
            raise
        except Exception as error:
            raise _explained(network, sample, error, free) from error
    refuse_frozen_sizes(program)
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # paths and lines of the network's source code
    return program


def _explained(
    network: nn.Module, sample: torch.Tensor, error: Exception, free: Mapping[int, str]
) -> ModelError | ShapeError:
    """The error to raise: the network's own if it also fails without torch.export."""
    hint = "export without --dynamic, for one --shape" if free else None
    try:
        network(sample)
    except Exception as own:
        height, width = sample.shape[-2:]
        if free:
            return ModelError(
                f"the network does not take images of every size; at {height}x{width}: {one_line(own)}",
                hint=hint,
            )
        return ShapeError(f"the network cannot take {height}x{width} images: {one_line(own)}")
    return ModelError(f"torch.export cannot follow the network: {one_line(error)}", hint=hint)


def limits_of(program: ExportedProgram, known: InputLimits | None, multiple_of: int) -> InputLimits:
    """The heights and widths that a program with free sizes takes: some that the network takes are excluded.

    torch.export assumes that nothing that varies is 1. So where a map is a 32nd of the input's size, a
    program needs 33 pixels, though the network itself takes one.
    """
    image = next(
        node for node in program.graph.nodes if node.op == "placeholder" and node.name in _inputs(program)
    )
    ends = [_ends(program, size) for size in image.meta["val"].shape[2:]]
    known = known or InputLimits(multiple_of=multiple_of)
    lows = tuple(max(low, own) for (low, _), own in zip(ends, known.minimum, strict=True))
    tops = [_least(top, own) for (_, top), own in zip(ends, known.maximum or (None, None), strict=True)]
    bounded = tops[0] is not None and tops[1] is not None
    return InputLimits(
        minimum=(lows[0], lows[1]),
        multiple_of=known.multiple_of,
        maximum=(tops[0] or 0, tops[1] or 0) if bounded else None,
    )


def _inputs(program: ExportedProgram) -> tuple[str, ...]:
    return tuple(program.graph_signature.user_inputs)


def _ends(program: ExportedProgram, size: Any) -> tuple[int, int | None]:
    """Smallest and largest value of an axis; its formula is a symbol, or a multiple of one."""
    ends: list[int | None] = []
    for side in ("lower", "upper"):
        values = {symbol: getattr(limits, side) for symbol, limits in program.range_constraints.items()}
        value = size.node.expr.subs(values)
        ends.append(int(value) if value.is_Integer else None)
    lowest = ends[0] or 1
    return (1 if lowest == 2 else lowest), ends[1]  # an axis without conditions begins at 2


def _least(one: int | None, other: int | None) -> int | None:
    given = [value for value in (one, other) if value is not None]
    return min(given) if given else None


def save_program(program: ExportedProgram, file: BinaryIO) -> None:
    """Pack a program as it is."""
    example, program.example_inputs = program.example_inputs, None  # else the whole sample goes into the file
    try:
        torch.export.save(program, file)
    finally:
        program.example_inputs = example


def save_compiled(program: ExportedProgram, file: BinaryIO) -> None:
    """Compile a program for this machine with AOTInductor, and pack it; takes minutes.

    Raises:
        ModelError: it cannot be compiled.
    """
    # Take the number of threads when the code runs, not when it is compiled.
    settings = {"cpp.dynamic_threads": True}
    try:
        with torch.no_grad():
            torch._inductor.aoti_compile_and_package(program, package_path=file, inductor_configs=settings)
    except OSError:
        raise
    except Exception as error:
        raise ModelError(
            f"the network cannot be compiled: {one_line(error)}", hint="leave out --aot"
        ) from error


def require_compiler() -> None:
    """Raises :class:`MissingDependencyError` if there is no C++ compiler."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        with quiet():
            get_cpp_compiler()
    except Exception as error:
        raise MissingDependencyError(
            "export torch-export --aot needs a C++ compiler, and there is none",
            hint="install g++ or name one in the variable CXX, or leave out --aot",
        ) from error


def machine(device: torch.device) -> dict[str, str]:
    """What compiled code needs: the kind of device, the system and the processor."""
    return {
        "device": device.type,
        "system": platform.system(),
        "processor": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def load_program(path: Path, device: torch.device) -> Function:
    """Open a ``.pt2`` program on ``device`` as a function; raises as :func:`open_program`."""
    return module_of(open_program(path, device), path)


def open_program(path: Path, device: torch.device) -> ExportedProgram:
    """Open a ``.pt2`` program on ``device``.

    Raises:
        ArtifactError: PyTorch cannot read it.
    """
    from torch.export.passes import move_to_device_pass

    with _opening(path):
        program = torch.export.load(str(path))
        tensors = (*program.state_dict.values(), *program.constants.values())
        if any(isinstance(tensor, torch.Tensor) and tensor.device != device for tensor in tensors):
            program = move_to_device_pass(program, str(device))
    return program


def module_of(program: ExportedProgram, path: Path) -> nn.Module:
    """The program that was read from ``path`` as a module; raises :class:`ArtifactError` if it is damaged."""
    with _opening(path):
        module: nn.Module = program.module()
    return module


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        with quiet():
            yield
    except MemoryError:
        raise
    except Exception as error:  # a damaged or hostile graph raises almost anything
        raise ArtifactError(f"PyTorch cannot open {path}: {one_line(error)}") from error


def load_compiled(path: Path, device: torch.device, made_for: Mapping[str, str]) -> Function:
    """Open a compiled package.

    PyTorch unpacks it into a temporary folder, which goes with the function.

    Raises:
        DeviceError: it was compiled for another kind of device or machine.
        ArtifactError: PyTorch cannot read it.
    """
    here = machine(device)
    for what in ("device", "system", "processor"):
        if made_for.get(what, here[what]) != here[what]:
            raise DeviceError(
                f"{path} was compiled for the {what} {made_for[what]}, not for {here[what]}",
                hint="compile it where it runs, or export without --aot",
            )
    wanted = made_for.get("capability", "DEFAULT")
    known = wanted in _CAPABILITIES and here["capability"] in _CAPABILITIES
    if known and _CAPABILITIES.index(wanted) > _CAPABILITIES.index(here["capability"]):
        raise DeviceError(
            f"{path} was compiled for CPUs with {wanted}, and this one has {here['capability']}",
            hint="compile it where it runs, or export without --aot",
        )
    index = -1 if device.index is None else device.index  # -1: PyTorch's own choice
    with ExitStack() as stack:
        unpacked = stack.enter_context(scratch_folder())
        try:
            with quiet(), temporary_files_in(unpacked):
                function: Function = torch._inductor.aoti_load_package(str(path), device_index=index)
        except (RuntimeError, ValueError, OSError, ImportError) as error:
            raise ArtifactError(f"PyTorch cannot open {path}: {one_line(error)}") from error
        weakref.finalize(function, stack.pop_all().close)
    return function


def as_text(program: ExportedProgram) -> str:
    """The graph, one node a line, then how many of each operator."""
    counts = Counter(str(node.target) for node in program.graph.nodes if node.op == "call_function")
    totals = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    return f"{program.graph}\n  {totals}"
