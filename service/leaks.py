"""The last look before a snapshot is frozen: nothing of the held-out tasks may be in it."""
