"""What the tests of segplug-analysis share."""
