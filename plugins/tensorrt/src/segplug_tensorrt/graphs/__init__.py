"""Convert ONNX graphs to another precision: a strongly typed network gets its precision from the graph."""
