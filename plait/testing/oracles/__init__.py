"""Plain NumPy and SciPy references for the primitives, one file for each family of plait/prims."""
