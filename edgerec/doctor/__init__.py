"""Checks of a machine before or beside a recording."""
