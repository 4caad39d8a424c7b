"""Segmentation models of torchvision in segplug."""
