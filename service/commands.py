"""All commands: importing this module puts them on the command line."""

from seedbed.service import file_commands, look_commands, work_commands

__all__ = ["file_commands", "look_commands", "work_commands"]
