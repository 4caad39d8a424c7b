"""Generated command lines for all commands of segplug, and what must hold for each of them.

    PYTHONPATH=tests/fuzz python -m fuzz_driver --seed 20261130 --cases 700

Commands and options are read from the installed plugins, so that a new one is covered by itself.
"""
