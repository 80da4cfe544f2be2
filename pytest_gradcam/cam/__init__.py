"""How a heatmap is made."""
