"""Packages that only some readers need."""

from __future__ import annotations

import importlib
from typing import Any

from plait.core.errors import MissingDependencyError, message


def package(name: str, what: str) -> Any:
    """Import an optional package.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        text = message(f"{what} needs the package {name.split('.')[0]}", fix='pip install "plait[data]"')
        raise MissingDependencyError(text, name=name.split(".")[0]) from None
