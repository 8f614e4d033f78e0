"""Running compiled programs: memory, the thread pool, the object-code cache, and what is known of the host.

`launch` turns a plan into one table of rows, and running it is one native call; `code` finds or compiles kernels.
"""
