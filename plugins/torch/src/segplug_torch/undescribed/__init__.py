"""Networks that do not say how they are used: models made from a network and its user's options.

* :mod:`segplug_torch.undescribed.options`: the options that such sources share;
* :mod:`segplug_torch.undescribed.scores`: what a network returns, found by running it;
* :mod:`segplug_torch.undescribed.metadata`: the metadata, from both and from what a source knows.
"""
