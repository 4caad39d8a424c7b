"""Reports on models, artifacts and training runs, and checkpoints made ready to publish."""
