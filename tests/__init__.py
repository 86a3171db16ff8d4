"""The tests, by the rooms of the package; how to find and run them is in docs/testing.md."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
