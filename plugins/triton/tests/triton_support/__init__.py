"""What the tests of segplug-triton share."""
