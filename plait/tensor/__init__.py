"""What the user touches: lazy tensors, their operators, views and functions.

`tensor` and `lazy` are the heart (handles, and when they are computed); `operators` to `contraction` are the function
namespace, listed in `api`; `autograd`, `transforms`, `control` and `jit` lift the layers below to pytrees of tensors.
"""
