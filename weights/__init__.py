"""Where model weights come from; data only, never executed."""
