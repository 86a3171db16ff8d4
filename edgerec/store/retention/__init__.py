"""Which published files are deleted, and when."""
