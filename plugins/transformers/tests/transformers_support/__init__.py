"""What the tests of segplug-transformers share."""
