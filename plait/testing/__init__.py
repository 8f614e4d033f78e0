"""What the tests of plait are made of, usable in the tests of your own code: oracles and reference evaluation."""
