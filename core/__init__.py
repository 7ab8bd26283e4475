"""What every room shares: the records, the config tree, the error tree, atomic files, events, text."""
