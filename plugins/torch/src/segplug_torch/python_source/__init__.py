"""The model source ``python``: a plain PyTorch module that a function or class of the user's code returns."""
