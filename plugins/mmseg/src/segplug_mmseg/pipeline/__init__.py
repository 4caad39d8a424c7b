"""What the test pipelines of both generations have in common: numbers, channels, decoding."""
