"""``analyze flops``: the work of a network, counted operator by operator."""
