"""From a snapshot to an adapter, in a process of its own."""
