"""How a heatmap is made: the only room, beside models/, that imports torch."""
