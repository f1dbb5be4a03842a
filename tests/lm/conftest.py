import pytest


@pytest.fixture(autouse=True)
def nothing_is_remembered_of_earlier_tests(tmp_path_factory, monkeypatch):
    """Checks of how a model reads are made for each test again."""
    folder = tmp_path_factory.mktemp("reading_checks")
    monkeypatch.setattr("neurolm.lm.reading_check.cache_folder", lambda: folder)
