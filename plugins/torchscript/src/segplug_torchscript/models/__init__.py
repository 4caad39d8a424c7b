"""Files of PyTorch as models: TorchScript files and torch.export programs that another tool saved."""
