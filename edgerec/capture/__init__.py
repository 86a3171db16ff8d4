"""Capture: from a device, an application or a file to the block stream in this process."""
