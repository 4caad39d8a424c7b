"""Helpers of the tests of segplug-torchserve."""
