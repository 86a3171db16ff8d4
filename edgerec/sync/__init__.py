"""Sync: from device frames onto one timeline."""
