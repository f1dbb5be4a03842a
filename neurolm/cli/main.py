"""`neurolm`: the commands together, and how every error ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer

from neurolm.checks import InputError

app = typer.Typer(
    name="neurolm",
    help="Language models as models of the brain: from a transcript and BOLD to a report, and back to words.",
    epilog="Start with: neurolm run configs/demo.yaml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; bad input ends in one message and exit code 2, never a traceback."""
    from neurolm.cli import commands  # noqa: F401  (registers every command)

    carry_out(app)


def carry_out(work: Callable[[], object]) -> None:
    """Do something as a command does it."""
    from neurolm.cli.terminal import plain_warnings

    try:
        with plain_warnings():
            work()
    except InputError as error:
        stop(str(error))
    except KeyboardInterrupt:
        stop("Stopped. What was finished is kept; the same command goes on from there.", code=130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        stop(f"{where}{error.strerror or error}. Check the path, its permissions and the free space.")


def stop(message: str, code: int = 2) -> None:
    """Say one thing and end; a parent `neurolm run` finds it in the file named by NEUROLM_ERRORS."""
    from neurolm.cli.terminal import warn

    record = os.environ.get("NEUROLM_ERRORS")
    if record:
        with open(record, "a", encoding="utf-8") as file:
            file.write(message.replace("\n", " ") + "\n")
    warn(f"neurolm: {message}")
    sys.exit(code)
