"""What the tests of segplug-mmseg share."""
