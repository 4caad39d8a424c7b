"""Tools for the tests of plugins."""

from segplug.testing.engines import ArrayDataset, EngineConformance, FunctionEngine
from segplug.testing.requests import make_request
from segplug.testing.weights import randomise

__all__ = ["ArrayDataset", "EngineConformance", "FunctionEngine", "make_request", "randomise"]
