"""`trials.parquet` against `trials.csv`."""

import csv

import pyarrow as pa
import pyarrow.parquet as pq
from answered_search import write_search

from search.records.record import load_record
from search.reporting.trials import write_trials_csv, write_trials_parquet


def test_the_table_with_types_has_what_the_other_has(tmp_path):
    layout = write_search(tmp_path)
    record = load_record(layout)
    write_trials_csv(record, layout.trials_csv)
    write_trials_parquet(record, layout.trials_parquet)
    table = pq.read_table(layout.trials_parquet)
    with layout.trials_csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert table.column_names == list(rows[0]) and table.num_rows == len(rows) == 12
    for name in table.column_names:
        for value, text in zip(table[name].to_pylist(), (row[name] for row in rows), strict=True):
            shown = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            assert shown == text
    names = ("trial", "enqueued", "cutoff", "val/accuracy", "fc_layers", "lr")
    assert [table.schema.field(name).type for name in names] == [
        pa.int64(),
        pa.bool_(),
        pa.float64(),
        pa.float64(),
        pa.int64(),
        pa.float64(),
    ]
    assert table.schema.metadata[b"search"] == b"answered"


def test_a_parameter_with_the_name_of_a_column_has_its_own(tmp_path):
    record = load_record(write_search(tmp_path, trials=3))
    for trial in record.trials.values():
        trial.params["epochs"] = 4 if trial.number else "four"
    write_trials_parquet(record, tmp_path / "trials.parquet")
    table = pq.read_table(tmp_path / "trials.parquet")
    assert table["epochs"].to_pylist() == [4, 4, 4] and table["params/epochs"].to_pylist() == ['"four"', "4", "4"]
