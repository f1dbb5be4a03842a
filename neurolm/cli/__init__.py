"""The command line: arguments in, a function of `neurolm.workflows` called, progress and messages out.

app.py       the application, options that commands share, and how errors end: one message, exit code 2
main.py      the commands together
terminal.py  lines, warnings and progress bars
"""

from neurolm.cli.main import main

__all__ = ["main"]
