"""What the tests of segplug-converters share."""
