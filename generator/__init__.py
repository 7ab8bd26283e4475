"""What to ask next, how, and the fan-out."""
