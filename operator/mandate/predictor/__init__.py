"""The default model runtime: one ONNX model behind Open Inference Protocol v2. Imports nothing else of ours."""
