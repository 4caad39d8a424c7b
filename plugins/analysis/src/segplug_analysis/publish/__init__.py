"""``convert_weights publish``: make a training run's checkpoint ready to publish."""
