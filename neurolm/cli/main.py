"""`neurolm`: the commands together, in the order in which `--help` lists them."""

from neurolm.cli import doctor, data, stimuli, train, features, timescales, analyses, run  # noqa: F401, I001
from neurolm.cli.app import app, carry_out, settle


def main() -> None:
    """Run the command line; bad input ends in one message and exit code 2, never a traceback."""
    settle()
    carry_out(app)
