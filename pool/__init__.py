"""The one durable thing: requests, completions, candidates, decisions, runs, adapters, snapshots."""
