"""``analyze flops``: what a network costs, counted operator by operator."""
