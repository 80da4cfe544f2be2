"""Evidence as people and machines read it. Knows neither models nor pytest."""
