"""Helpers for the tests of segplug-tensorrt."""
