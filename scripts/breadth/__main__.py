"""Write the picture, docs/images/breadth.svg, and the table in README.md: ``python -m scripts.breadth``."""

from __future__ import annotations

from pathlib import Path

from scripts.breadth.facts import ROOT
from scripts.breadth.picture import draw
from scripts.breadth.table import markdown

PICTURE = ROOT / "docs" / "images" / "breadth.svg"
README = ROOT / "README.md"
BEGIN = "<!-- This table is written by `python -m scripts.breadth`. -->\n\n"


def with_table(text: str) -> str:
    """README's text with the table in the place of the one that is there."""
    before, _, after = text.partition(BEGIN)
    if not after:
        raise ValueError(f"README has no line {BEGIN.strip()}")
    _, _, rest = after.partition("\n\n")
    return f"{before}{BEGIN}{markdown()}\n{rest}"


def main() -> None:
    """Write both."""
    PICTURE.write_text(draw(), encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    for file in (PICTURE, README):
        print(f"wrote {file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}")


if __name__ == "__main__":
    main()
