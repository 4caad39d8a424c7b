"""Export to TorchScript and torch.export, and the engines that run both."""
