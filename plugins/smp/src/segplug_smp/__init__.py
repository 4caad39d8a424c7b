"""Models of segmentation-models-pytorch in segplug."""
