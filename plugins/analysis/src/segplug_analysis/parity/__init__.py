"""``analyze parity``: the scores of a trained model on every backend, beside PyTorch's."""
