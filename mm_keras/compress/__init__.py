"""Small, fast models out of trained ones, by the TensorFlow Model Optimization toolkit (TFMOT)."""
