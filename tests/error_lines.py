"""What an error of ours says, in tests that generate bad input."""


def one_line(error: Exception, *parts: str) -> None:
    """The message is one line that says something, with each of `parts` in it."""
    said = str(error)
    assert len(said) > 20, said
    assert "\n" not in said, said
    for part in parts:
        assert part in said, said
