"""Helpers of the tests of segplug-converters."""
