"""What a search has decided, on disk after every word, so that a killed search goes on from there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.checks import bad_file
from neurolm.locks import exclusive_lock
from neurolm.storage import content_hash, remove_parts, whole_file, write_json


class Journal:
    """A folder with one line per word and the feature vectors of the latest words.

    Lines say which hypotheses were kept: parents, words, log-probabilities and scores. Vectors are kept
    only as long as their words still touch TRs of words to come. A line is written after its
    vectors; a line that was cut short is dropped.

    Parameters
    ----------
    folder : path
    settings : mapping
        Everything that determines the search; a journal of another search is refused.
    """

    def __init__(self, folder: str | Path, settings: dict[str, Any]) -> None:
        self.folder = Path(folder)
        self._lines = self.folder / "words.jsonl"
        self._key = content_hash(settings)
        head = self.folder / "search.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_parts(self.folder)
        if head.is_file():
            known = json.loads(head.read_text(encoding="utf-8")).get("search")
            if known != self._key:
                raise bad_file(
                    self.folder, "is the journal of another search", "Choose another folder, or delete it to begin again."
                )
        else:
            write_json(head, {"search": self._key})

    def lock(self) -> Any:
        """A context manager that is True inside where no other process writes this journal."""
        return exclusive_lock(self.folder / "lock", wait=False)

    def steps(self) -> list[dict[str, Any]]:
        """What was decided, word by word; damaged ends are cut off."""
        if not self._lines.is_file():
            return []
        steps: list[dict[str, Any]] = []
        whole = 0
        for line in self._lines.read_bytes().split(b"\n"):
            try:
                step = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError):
                break
            if step["word"] != len(steps):
                break
            steps.append(step)
            whole += len(line) + 1
        with open(self._lines, "r+b") as file:
            file.truncate(whole)
        return steps

    def vectors(self, word: int) -> np.ndarray:
        """(n_hypotheses, n_features) of the hypotheses that were kept at this word."""
        try:
            return np.load(self._vectors(word), allow_pickle=False)
        except (OSError, ValueError) as error:
            raise bad_file(self._vectors(word), f"cannot be read ({error})", "Delete the journal to begin again.") from None

    def append(self, step: dict[str, Any], vectors: np.ndarray, oldest_needed: int) -> None:
        """Note one word, then forget vectors of words before `oldest_needed`."""
        word = step["word"]
        with whole_file(self._vectors(word)) as part, open(part, "wb") as file:
            np.save(file, vectors, allow_pickle=False)
        with open(self._lines, "ab") as file:
            file.write(json.dumps(step).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        for old in self.folder.glob("vectors-*.npy"):
            if int(old.stem.split("-")[1]) < oldest_needed:
                old.unlink(missing_ok=True)

    def _vectors(self, word: int) -> Path:
        return self.folder / f"vectors-{word:06d}.npy"
