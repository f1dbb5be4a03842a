"""`neurolm data`: which data sets there are, get one, look whether a copy is whole."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from neurolm.checks import bad
from neurolm.cli.app import app
from neurolm.datasets import list_datasets, load_dataset
from neurolm.progress import progress, say

data = typer.Typer(help="List, fetch and check data sets.", no_args_is_help=True)
app.add_typer(data, name="data")


@data.command("list", epilog="Example: neurolm data list")
def list_() -> None:
    """List the data sets that neurolm knows, with their licences and whether they can be fetched."""
    for info in list_datasets():
        how = "simulated" if info.is_simulated else "neurolm data fetch" if info.is_downloadable else "bring your own copy"
        say(f"{info.name:<18}{info.description}")
        say(f"{'':<18}{info.licence}; {how}")


@data.command(epilog="Example: neurolm data fetch lebel2023 --subject UTS03 --story souls")
def fetch(
    name: Annotated[str, typer.Argument(help="A data set of `neurolm data list`.")],
    subject: Annotated[list[str] | None, typer.Option(help="Only this subject (again for more).")] = None,
    story: Annotated[list[str] | None, typer.Option(help="Only this story (again for more).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, and where to.")] = False,
) -> None:
    """Download a data set into the cache, every file checked; a broken download goes on where it stopped."""
    from neurolm.checks import check_choice
    from neurolm.datasets import fetch_dataset
    from neurolm.storage import cache_folder

    known = {info.name: info for info in list_datasets()}
    info = known[check_choice("name", name, known)]
    say(f"{info.name}: {info.description} ({info.licence})")
    if dry_run:
        say(f"from {info.url}" if info.is_downloadable else "cannot be downloaded")
        say(f"into {cache_folder()}")
        return
    with progress(f"fetch {name}") as report:
        asked = {"subjects": subject, "stories": story}
        say(f"in {fetch_dataset(name, report, **{key: value for key, value in asked.items() if value})}")


@data.command(epilog="Example: neurolm data check alice    (or: neurolm data check bids -o folder=/data/ds -o space=fsaverage5)")
def check(
    name: Annotated[str, typer.Argument(help="A data set of `neurolm data list`, or the config of an analysis.")],
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="key=value of that data set (again for more).")
    ] = None,
) -> None:
    """Read the local copy and say what is there, what is known, and what is wrong."""
    plan: Any = None
    options: dict[str, Any] = {}
    if name.endswith((".yaml", ".yml", ".json")):
        from neurolm.workflows.kinds import plan_of

        plan = plan_of(name, look=False)[1]
        section = getattr(plan.config, "dataset", None)
        if section is None:
            raise bad(
                "config", "be of an analysis with a data set", f"one of {plan.workflow}", "Try `neurolm run CONFIG --dry-run`."
            )
        name, options = section.name, section.options
    dataset = load_dataset(name, **(options | _options(option or [])))
    say(f"{dataset.info.name}: {dataset.info.design}")
    say(f"from {dataset.folder or 'memory'}; {len(dataset.subjects())} subjects, stories: {', '.join(dataset.stories())}")
    with progress(f"check {name}") as report:
        findings = dataset.check(report)
    for finding in findings:
        say(str(finding))
    if plan is not None:
        from neurolm.workflows.preflight import preflight

        preflight(plan, is_dry=True, only_reads=True)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(2)


def _options(given: list[str]) -> dict[str, Any]:
    """`folder=/data/ds` and `confounds=[motion]` as a config would have them."""
    from neurolm.workflows.yaml_file import read_value

    options = {}
    for pair in given:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise bad("option", "read key=value", pair)
        try:
            options[key] = read_value(value)
        except ValueError:
            raise bad(f"option {key}", "be a value as YAML has it", value, "Put text with signs into quotes.") from None
    return options
