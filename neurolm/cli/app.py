"""The `neurolm` application: options that commands share, signals, and how every error ends."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from neurolm.checks import InputError
from neurolm.cli.terminal import Terminal
from neurolm.progress import shown_on
from neurolm.workflows.engine import CACHE_BEFORE, ERRORS

app = typer.Typer(
    name="neurolm",
    help="Language models as models of the brain: from a transcript and BOLD to a report, and back to words.",
    epilog="Start with: neurolm run configs/demo.yaml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# options that several commands take
ConfigPath = Annotated[str, typer.Argument(help="A YAML file, or the name of a config that comes with neurolm.")]
Output = Annotated[Path | None, typer.Option(help="Folder for the results, instead of the config's.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda, instead of the config's.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Instead of the config's.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be computed, with sizes; compute nothing.")]


@app.callback()
def _on_terminal(context: typer.Context) -> None:
    context.with_resource(shown_on(Terminal()))


class Terminated(BaseException):
    """A signal asked this process to end; the one argument is its number. (Typer keeps a KeyboardInterrupt to itself.)"""


def settle() -> None:
    """Signals, streams and the environment as every command expects them.

    SIGTERM and SIGHUP end a command as Ctrl-C does, with its children and its temporary files; under `nohup`
    SIGHUP stays ignored. What a terminal cannot show is written as an escape.
    """
    signal.signal(signal.SIGINT, _terminate)  # a shell script ignores it for what it starts with &
    signal.signal(signal.SIGTERM, _terminate)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape" if stream.encoding.lower() == "utf-8" else "backslashreplace")
    before = os.environ.pop(CACHE_BEFORE, None)
    if before is not None:
        os.environ.pop("XDG_CACHE_HOME", None)
        os.environ.update({"XDG_CACHE_HOME": before} if before else {})


def _terminate(number: int, _: object) -> None:
    raise Terminated(number)


def carry_out(work: Callable[[], object]) -> None:
    """Do something as a command does it."""
    terminal = Terminal()
    try:
        with terminal.plain_warnings():
            work()
    except InputError as error:
        stop(str(error))
    except Terminated as error:
        name = signal.Signals(error.args[0]).name
        stop(f"Stopped by {name}. What was finished is kept; the same command continues from there.", code=128 + error.args[0])
    except KeyboardInterrupt:
        stop("Stopped. What was finished is kept; the same command continues from there.", code=130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        stop(f"{where}{error.strerror or error}. Check the path, its permissions and the free space.")


def stop(message: str, code: int = 2) -> None:
    """Show one message and end; a parent `neurolm run` finds it in the file named by NEUROLM_ERRORS."""
    record = os.environ.get(ERRORS)
    if record:
        with open(record, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(message.replace("\n", " ") + "\n")
    Terminal().warn(f"neurolm: {message}")
    sys.exit(code)
