"""The graph: dtypes, avals, primitives, nodes and the ways to record them.

Everything else records, transforms or compiles what is defined here, so this folder imports nothing of plait. It also
holds what every layer needs: errors, pytrees, settings, and the printer of graphs.
"""
