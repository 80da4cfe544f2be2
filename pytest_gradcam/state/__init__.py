"""A model, and the process, are given back as they were found."""
