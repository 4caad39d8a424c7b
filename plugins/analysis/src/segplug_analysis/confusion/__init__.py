"""``analyze confusion``: which classes a model confuses."""
