"""``analyze config``: a config with everything it imports, and the network that it describes."""
