"""``python -m segplug``."""

from segplug.cli import main

main()
