"""TorchServe: archives for it, the handler that it runs, and its models as engines."""
