"""The only room that knows all others: lifecycle, decider, API, command line."""
