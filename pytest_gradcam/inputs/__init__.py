"""What users pass as an image, and what their preprocess makes of it and of masks."""
