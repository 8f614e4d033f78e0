"""The command `plait`: `plait demo` and `plait doctor`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import plait
from plait import demo, nn
from plait.runtime import doctor


def self_check() -> str:
    """Train one linear layer for some steps and compare with what is known; returns a line about it.

    Raises:
        RuntimeError: the result is wrong.
    """
    x = plait.linspace(-1, 1, 64)[:, None]
    target = 3 * x + 1
    layer = nn.Linear(1, 1)
    optimizer = plait.optim.SGD(layer.parameters(), lr=0.3, momentum=0.5)

    @plait.jit
    def step(x: plait.Tensor, target: plait.Tensor) -> plait.Tensor:
        loss = nn.functional.mse_loss(layer(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    for _ in range(60):
        step(x, target)
    found = layer.weight.item(), layer.bias.item()
    if abs(found[0] - 3) > 1e-3 or abs(found[1] - 1) > 1e-3:
        raise RuntimeError(f"training 3 * x + 1 found {found[0]:.5f} * x + {found[1]:.5f}")
    return f"ok: a compiled training step found {found[0]:.4f} * x + {found[1]:.4f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="plait", description="plait, a deep-learning framework in pure Python")
    parser.add_argument("--version", action="version", version=f"plait {plait.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    job = commands.add_parser("demo", help="train a network on handwritten digits, and draw how it went")
    demo.add_arguments(job)
    commands.add_parser("doctor", help="print versions, processor, threads, cache, devices, and a self-check")
    options = parser.parse_args(arguments)
    if options.command == "demo":
        return demo.main(options)
    text = doctor.report(self_check)
    print(text)
    return 1 if "FAILED" in text else 0


if __name__ == "__main__":
    sys.exit(main())
