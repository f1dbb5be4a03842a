"""Data sets as plug-ins: one call gives words and responses with what is known about them.

load_dataset        "alice", "simulated", ...
list_datasets       what is known about each, without opening a file
Dataset             the protocol that every plug-in follows
DatasetInfo         design, format, licence, citation, known problems
Finding             what `check()` reports
DatasetNotFound     no copy here and no download
simulate_subject    voxels with planted weights in a design matrix
SimulatedSubject    responses, and everything that is true of them
find_resource       a norm or corpus: concreteness, stop words, MASC, film reviews
list_resources      each with its licence
tagged_texts, movie_reviews    corpora with labels
"""

from neurolm.datasets.dataset import Dataset, DatasetInfo, DatasetNotFound, Finding
from neurolm.datasets.registry import fetch_dataset, list_datasets, load_dataset
from neurolm.datasets.resources import Resource, find_resource, list_resources, movie_reviews, tagged_texts
from neurolm.datasets.simulate import SimulatedSubject, simulate_subject

__all__ = [
    "Dataset",
    "DatasetInfo",
    "DatasetNotFound",
    "Finding",
    "Resource",
    "SimulatedSubject",
    "fetch_dataset",
    "find_resource",
    "list_datasets",
    "list_resources",
    "load_dataset",
    "movie_reviews",
    "simulate_subject",
    "tagged_texts",
]
