"""edgerec: records what a voice kiosk hears and says, on one timeline, to files that last."""

__version__ = "0.1.0"
