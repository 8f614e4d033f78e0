"""From graphs to kernels, and from kernels to machine code."""
