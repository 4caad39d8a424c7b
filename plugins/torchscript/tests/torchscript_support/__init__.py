"""What the tests of segplug-torchscript share."""
