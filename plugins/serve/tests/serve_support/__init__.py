"""Helpers of the tests of segplug-serve."""
