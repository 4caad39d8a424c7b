"""Whether an artifact computes what its model computes: the inputs, the statistics, the verdict."""
