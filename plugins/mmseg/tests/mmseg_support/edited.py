"""A config's text with words replaced, as a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

__all__ = ["editor"]


def editor(config: str, folder: Path) -> Callable[..., Path]:
    """Writes ``config`` to ``folder`` with words replaced, each of which has to be there."""

    def edit(*changes: tuple[str, str], name: str = "edited.py", add: str = "") -> Path:
        text = config
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = folder / name
        path.write_text(text + add)
        return path

    return edit
