"""What masked pixels are replaced by, and the regions that serve as controls: NumPy and SciPy alone."""
