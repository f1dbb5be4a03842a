"""Analyses of a config, from Python: what the commands of `neurolm` do, without a terminal.

>>> from neurolm import workflows
>>> scores = workflows.encode("demo", output="results")  # doctest: +SKIP

Every function takes a config as a path, as the name of one that comes with neurolm, or as its content (a dict), makes what it
needs and reuses what is there.
"""

from neurolm.workflows.analysis import (
    check,
    compare,
    contrast,
    decode,
    encode,
    extract,
    report,
    timescales,
    timescales_report,
    train,
    unit_timescales,
)
from neurolm.workflows.gated_units import UnitSettings
from neurolm.workflows.run_status import status
from neurolm.workflows.snakemake_run import run

__all__ = [
    "UnitSettings",
    "check",
    "compare",
    "contrast",
    "decode",
    "encode",
    "extract",
    "report",
    "run",
    "status",
    "timescales",
    "timescales_report",
    "train",
    "unit_timescales",
]
