"""What the tests of plait are made of, usable in the tests of your own code: oracles, laws, random programs.

The only folder that may execute operations with NumPy: it judges the others.
"""
