"""What plugin authors test with: :mod:`segplug.testing.engines`."""
