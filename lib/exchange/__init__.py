"""Models and data in the formats of others: MONAI Bundles, ONNX, nnU-Net, COCO, cellpose."""
