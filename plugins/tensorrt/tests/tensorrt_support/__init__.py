"""What the tests of segplug-tensorrt share."""
