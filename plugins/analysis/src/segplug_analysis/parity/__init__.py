"""``analyze parity``: what a trained model scores on every backend, beside PyTorch."""
