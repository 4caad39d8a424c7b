"""Helpers of the tests of segplug-triton."""
