"""From a candidate and what is already in, to a verdict. No network, no database."""
