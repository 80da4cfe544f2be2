"""Frames of pedestrian underpasses as a surveillance camera records them, with exact masks, from nothing but a seed."""
