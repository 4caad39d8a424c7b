"""``convert_weights publish``: a training run's checkpoint, made ready to be given away."""
