"""TensorRT and TensorRT-RTX: engines built from ONNX files, checked, and run."""
