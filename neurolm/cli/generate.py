"""`neurolm generate`: let a language model go on with a text, which appears as it is made."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from neurolm.cli.main import app
from neurolm.cli.terminal import say


@app.command(epilog='Example: neurolm generate neurolm/lstm-small --prompt "once upon a time" --top-p 0.9 --seed 1')
def generate(
    model: Annotated[str, typer.Argument(help="smollm2-135m, a hub name, neurolm/lstm-small ..., or a folder.")],
    prompt: Annotated[str, typer.Option(help="The text to go on with.")] = "Once upon a time",
    max_tokens: Annotated[int, typer.Option(min=1, help="At most so many tokens.")] = 100,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw from the k likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0, max=1, help="Draw from the likeliest tokens that hold this probability.")
    ] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="Search with so many beams instead of drawing.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    special_tokens: Annotated[
        bool, typer.Option("--special-tokens", help="Read special tokens spelled in the prompt (<|im_start|>) as such.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
) -> None:
    """Continue a text with a language model; the same seed gives the same text."""
    if dry_run:
        say(f"{model}: up to {max_tokens} tokens after {len(prompt.split())} words, seed {seed}")
        return
    from neurolm.cli.features import open_model
    from neurolm.lm import generate as continue_text

    def show(piece: str) -> None:
        sys.stdout.write(piece)
        sys.stdout.flush()

    show(prompt)
    continue_text(
        open_model(model, device),
        prompt,
        max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        beam_width=beam,
        seed=seed,
        special_tokens=special_tokens,
        on_token=show,
    )
    say()
