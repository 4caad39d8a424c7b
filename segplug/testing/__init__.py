"""What plugin authors test with."""

from segplug.testing.engines import ArrayDataset, EngineConformance, FunctionEngine

__all__ = ["ArrayDataset", "EngineConformance", "FunctionEngine"]
