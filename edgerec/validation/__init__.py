"""Input from outside, read within bounds and checked by annotations."""
