"""What a check leaves behind, and the one place where a check is settled."""
