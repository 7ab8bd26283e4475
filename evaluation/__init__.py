"""From an adapter to a report, in a process of its own."""
