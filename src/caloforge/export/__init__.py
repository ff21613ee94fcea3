"""From a trained model to files that other programs run: ONNX and TorchScript in the forms that they expect."""
