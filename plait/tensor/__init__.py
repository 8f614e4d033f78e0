"""What the user touches: lazy tensors, their operators, views and functions."""
