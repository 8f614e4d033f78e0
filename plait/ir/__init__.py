"""Target-neutral loop IR: loops, loads, stores and scalar arithmetic, with vector and parallel marks.

It stands between what an operation means (`prims`) and what a machine does (`compiler.llvm`): lowerings are written in
it, and the interpreter defines what it means. Mathematical functions and matrix kernels are written in it too.
"""
