"""ONNX graphs of another precision: what a strongly typed network is built from."""
