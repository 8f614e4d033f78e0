"""From graphs to kernels, and from kernels to machine code.

`pipeline` is the way through: `simplify`, then `fuse` decides what shares a kernel, `lower` writes its loops, `memory`
lays out what is between kernels; `llvm` emits the loops for a target. Nothing here runs anything.
"""
