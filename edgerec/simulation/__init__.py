"""The virtual kiosk: devices with drift, lateness and losses whose truth is known."""
