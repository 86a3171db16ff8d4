"""Turns: who speaks when."""
