"""TorchServe: packs archives for it, is the handler that runs in it, and runs images on it."""
