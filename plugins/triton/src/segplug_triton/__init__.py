"""Packs artifacts into a model repository of the Triton Inference Server."""
