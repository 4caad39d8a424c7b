"""Plain PyTorch modules as models, the PyTorch engine, and code that every PyTorch source needs.

Nothing here knows a framework such as mmsegmentation. Plugins that load models of a framework, or that run
files with PyTorch, may import these modules and no others:

* :mod:`segplug_torch.devices`: the device of a name, checked;
* :mod:`segplug_torch.engine`: a function of tensors as an engine;
* :mod:`segplug_torch.errors`: PyTorch's errors in one line, and which of them mean "not enough memory";
* :mod:`segplug_torch.exportable`: :func:`~segplug_torch.exportable.make_exportable`;
* :mod:`segplug_torch.exportable.registry`: how a plugin registers the exportable forms of its classes;
* :mod:`segplug_torch.exportable.attention`, :mod:`segplug_torch.exportable.deformable_attention`,
  :mod:`segplug_torch.exportable.relative_positions`, :mod:`segplug_torch.exportable.sine_positions`,
  :mod:`segplug_torch.exportable.sizes`, :mod:`segplug_torch.exportable.windows`: helpers for such forms;
* :mod:`segplug_torch.limits`: finds the input sizes that a network takes, by trying;
* :mod:`segplug_torch.norms`: synchronised batch norms as plain ones;
* :mod:`segplug_torch.undescribed`: models from networks that do not say how they are used: options, scores,
  metadata;
* :mod:`segplug_torch.weights`: a checkpoint loaded strictly into a network.

Importing this package, :mod:`~segplug_torch.engine` or :mod:`~segplug_torch.errors` does not import PyTorch.
"""
