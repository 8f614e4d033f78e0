"""`python -m plait` is the command `plait`."""

from __future__ import annotations

import sys

from plait.cli import main

sys.exit(main())
