"""Importing this module registers every command, in the order in which `--help` lists them."""

from neurolm.cli import doctor, data, stimuli, train, generate, features, encode, timescales, compare, decode, report, run, status  # noqa: F401, I001
from neurolm.cli import sweep, timescales_units  # noqa: F401
