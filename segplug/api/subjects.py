"""Turn what a caller gives (a model, an artifact, its path, a server's address) into a field of a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segplug.errors import UsageError
from segplug.installed import Provider
from segplug.locations import has_scheme
from segplug.model import SegmentationModel
from segplug.registry.hub import how_to_download
from segplug.regular_files import why_no_file
from segplug.results import Artifact
from segplug.session import Subject
from segplug.staging import recover
from segplug.text import is_encodable

__all__ = ["existing", "input_files", "name_of", "output_path", "request_field", "require_text"]


def request_field(provider: Provider, what: Subject) -> dict[str, Any]:
    """``what`` as the request field that the provider takes; :class:`UsageError` if it cannot."""
    named = f"{provider.entry.hook} {provider.entry.target}"
    if provider.takes == "url":
        if not isinstance(what, str):
            raise UsageError(f"{named} takes the address of a server, not a file or a model")
        return {"url": what}
    if isinstance(what, SegmentationModel):
        if provider.takes == "artifact":
            raise UsageError(f"{named} takes an artifact, not a loaded model")
        return {"model": what}
    path = what.path if isinstance(what, Artifact) else Path(what)
    if provider.takes == "model":
        raise UsageError(f"{named} takes a loaded model, not {path}", hint="load_model loads it first")
    require_text(existing(path))
    return {"artifact": path}


def name_of(what: Subject) -> str:
    """What people call it: the name of a file, or the address of a server; the model in memory."""
    if isinstance(what, SegmentationModel):
        return "the model"
    place = what.path if isinstance(what, Artifact) else what
    return str(what) if has_scheme(str(place)) else Path(place).name


def existing(path: Path) -> Path:
    """The path of a file or folder, if it is there; raises :class:`UsageError` if not.

    What a killed process was about to place is placed first.
    """
    if not path.exists() and path.parent.is_dir():
        recover(path.parent)
    if not path.is_dir() and (reason := why_no_file(path)):
        raise UsageError(reason, hint=how_to_download(path))
    return path


def output_path(location: str | Path) -> Path:
    """The path of an artifact to write; raises :class:`UsageError` if it is empty, or not UTF-8."""
    if location == "":
        raise UsageError("the output is empty", hint="name what to write")
    require_text(Path(location))
    return Path(location)


def require_text(path: Path) -> None:
    """Check the path of an artifact: the libraries of most formats take paths as text.

    Raises:
        UsageError: it has bytes that are not UTF-8, in its own name or in that of a folder.
    """
    whole = str(path.absolute())
    if not is_encodable(whole):
        raise UsageError(
            f"the path {whole} has bytes that are not UTF-8, which the libraries that write and open "
            "artifacts do not take",
            hint="use another name or folder",
        )


def input_files(what: Subject) -> list[str | Path | None]:
    """The files that ``what`` is read from; no output replaces one."""
    if isinstance(what, SegmentationModel):
        made_from = what.meta.provenance
        return [made_from.config, made_from.checkpoint, *what.files]
    return [what.path if isinstance(what, Artifact) else what]
