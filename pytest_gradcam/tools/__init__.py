"""What the commands on models and repositories do."""
