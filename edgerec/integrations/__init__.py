"""Adapters for frameworks of voice assistants: each is a module, and imports its framework."""
