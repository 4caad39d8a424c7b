"""Export to ONNX, and run ONNX files in ONNX Runtime."""
