"""What the tests of segplug-torch share."""
