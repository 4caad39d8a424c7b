"""The runtime that every backend shares: read, preprocess, slide, score, paint."""
