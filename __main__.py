"""`python -m seedbed` is the command line."""

from seedbed.service.cli import main

main()
