"""The report of a search: `trials.csv`, `README.md`, `curves.png`. Made from the ledger alone, again at any time.

python -m search.report NAME
"""

from __future__ import annotations

import typer

from search.cli import DEFAULT_RESULTS, Results, SearchName, run_command
from search.records.layout import SearchLayout
from search.records.record import load_record
from search.reporting.report import write_report

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def report(
    name: SearchName,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Write the report of a search again from its ledger: README.md, trials.csv and curves.png."""
    for path in write_report(layout := SearchLayout(results, name), load_record(layout)):
        typer.echo(f"wrote {path}")


def main() -> None:
    """The command `fashion-report`."""
    run_command(app)


if __name__ == "__main__":
    main()
