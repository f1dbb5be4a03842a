"""The command line: one file for each command, and what they share.

main.py      the commands together, and how errors end: one message, exit code 2
config.py    one YAML file for an analysis, checked before anything runs
terminal.py  progress bars, plain lines, heartbeats
plan.py      a checked config as the steps of a workflow
"""

from neurolm.cli.main import main

__all__ = ["main"]
