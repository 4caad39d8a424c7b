"""What the tests of segplug-serve share."""
