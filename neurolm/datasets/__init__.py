"""Data sets as plug-ins: one call gives words and responses with what is known about them.

load_dataset        "alice", ...
list_datasets       what is known about each, without opening a file
Dataset             the protocol that every plug-in follows
DatasetInfo         design, format, licence, citation, known problems
Finding             what `check()` reports
DatasetNotFound     no copy here and no download
"""

from neurolm.datasets.dataset import Dataset, DatasetInfo, DatasetNotFound, Finding
from neurolm.datasets.registry import fetch_dataset, list_datasets, load_dataset

__all__ = ["Dataset", "DatasetInfo", "DatasetNotFound", "Finding", "fetch_dataset", "list_datasets", "load_dataset"]
