"""The graph: dtypes, avals, primitives, nodes and the ways to record them."""
