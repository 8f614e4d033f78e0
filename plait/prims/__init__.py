"""The primitives: a closed set, one literal each, one file per family.

Each literal holds all that is known of its primitive: shape and dtype rule, lowering to loop IR, jvp, transpose,
batching, sharding, cost, the domain of valid inputs and the name of its oracle. Rules name other primitives through
`P`, so that families do not import each other; importing this package registers them all.
"""

from plait.prims import (
    compact,
    composite,
    contract,
    control,
    conv,
    convert,
    custom,
    elementwise,
    fft,
    gamma,
    index,
    iterative,
    movement,
    polynomial,
    reduce,
    remat,
    scan,
    scatter,
    small,
    sort,
    special,
    spectral,
    window,
)

__all__ = [
    "compact",
    "composite",
    "contract",
    "control",
    "conv",
    "convert",
    "custom",
    "elementwise",
    "fft",
    "gamma",
    "index",
    "linalg",
    "iterative",
    "movement",
    "polynomial",
    "reduce",
    "remat",
    "scan",
    "scatter",
    "small",
    "sort",
    "special",
    "spectral",
    "window",
]
