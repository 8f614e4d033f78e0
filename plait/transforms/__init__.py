"""Transforms: functions from graph to graph. They know no primitive by name; every rule is in `prims/`."""
