"""What the tests of segplug-torchvision share."""
