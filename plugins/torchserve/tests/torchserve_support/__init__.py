"""What the tests of segplug-torchserve share."""
