"""Build, check and run TensorRT and TensorRT-RTX engines."""
