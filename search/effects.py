"""Which parameters mattered, and how surely: `EFFECTS.md`, made from the ledger of a search.

python -m search.effects NAME

A linear model of the trials' scores: every parameter shifts the score by itself. An effect is the change of the score
that goes with a change of one parameter, the others as they were drawn. It is uncertain for two reasons, which add up:
other trials would have been drawn (bootstrap over trials), and other images would have been scored (each image's own
effect; all trials answer the same images, so what is common to them cancels out).
T trials, N images, K categories, P columns of the model, Q effects, O outcomes: the mean, then each category.
"""

from __future__ import annotations

import typer

from search.cli import DEFAULT_RESULTS, Results, SearchName, run_command
from search.records.layout import SearchLayout
from search.records.record import load_record
from search.reporting.effects import write_effects

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def effects(
    name: SearchName,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Write which parameters of a search mattered, with intervals: EFFECTS.md."""
    typer.echo(f"wrote {write_effects(layout := SearchLayout(results, name), load_record(layout))}")


def main() -> None:
    """The command `fashion-effects`."""
    run_command(app)


if __name__ == "__main__":
    main()
