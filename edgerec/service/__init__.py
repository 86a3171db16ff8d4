"""Service: the running program, which knows every room."""
