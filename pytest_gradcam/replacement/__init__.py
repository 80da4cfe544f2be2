"""What masked pixels are replaced by, and where else as a control: NumPy and SciPy alone."""
