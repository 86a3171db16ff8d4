"""Tests of `edgerec.capture.dating.pulse`."""
