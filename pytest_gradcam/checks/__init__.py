"""What is judged, one file per method."""
