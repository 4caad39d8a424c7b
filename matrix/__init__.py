"""Exports one config of every mmsegmentation family and writes what came out: ``python -m matrix``."""
