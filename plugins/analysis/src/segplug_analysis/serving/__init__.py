"""``analyze serving``: a served model against PyTorch, and under load."""
