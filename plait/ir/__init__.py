"""Target-neutral loop IR: loops, loads, stores and scalar arithmetic, with vector and parallel marks."""
