"""Loop IR to machine code: text emission, and the just-in-time compiler of the host.

`text` writes instructions; `operations` gives each IR operation its instructions; `storage` converts between
compute and storage types; `memory` reads and writes vectors; `lanes` analyses vector loops; `values` emits
expressions and `emit` statements; `jit` compiles and loads. `executor` and `platform` write the program runner.
"""
