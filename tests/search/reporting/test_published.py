"""Published numbers, against what must hold among themselves."""

import itertools

import numpy as np
import pytest

from fashion_core.models.network import FC_WIDTHS
from search.reporting import published
from search.reporting.published import DEPTHS, EXCHANGED, LOGS, PLACES, PRINTED, TABLE_2, read_table


def table(rows) -> np.ndarray:
    return np.array([rows[depth] for depth in DEPTHS])


def test_all_of_table_2_is_there() -> None:
    assert tuple(TABLE_2) == tuple(LOGS) == DEPTHS and max(DEPTHS) == len(FC_WIDTHS)
    assert table(TABLE_2).shape == table(LOGS).shape == (3, 3)
    assert ((table(TABLE_2) > 0.77) & (table(TABLE_2) < 0.83)).all()
    assert (np.diff(table(TABLE_2), axis=0) < 0).all() and (np.diff(table(LOGS), axis=0) < 0).all()


def test_the_readings_differ_in_the_se_columns_alone() -> None:
    printed, exchanged = table(read_table(PRINTED)), table(read_table(EXCHANGED))
    assert (printed == table(TABLE_2)).all() and (exchanged == printed[:, [0, 2, 1]]).all()


def test_the_logs_fit_the_exchanged_reading() -> None:
    """Of the three, SE-ResNeXt's log alone tells: the other two are as near to either of the low columns."""
    distances = {reading: abs(table(read_table(reading)) - table(LOGS)).mean() for reading in (PRINTED, EXCHANGED)}
    assert distances[EXCHANGED] < 0.005 < 3 * 0.005 < distances[PRINTED]
    nearest = [abs(table(TABLE_2) - table(LOGS)[:, [place]]).mean(0).argmin() for place in PLACES]
    assert nearest[2] == 1 and 1 not in nearest[:2]


def test_the_best_score_is_that_of_the_weights_over_the_best_of_the_table() -> None:
    assert max(map(max, TABLE_2.values())) == 0.8235
    assert pytest.approx(0.003) == published.BEST_SCORE - 0.8235
    assert len(published.WEIGHTS) == 6 and sum(published.WEIGHTS.values()) == pytest.approx(5.45)


def test_means() -> None:
    for depth, row in zip(DEPTHS, table(TABLE_2), strict=True):
        assert published.average_depth(depth) == pytest.approx(row.mean())
    for reading, place in itertools.product((PRINTED, EXCHANGED), PLACES):
        assert published.average_backbone(place, reading) == pytest.approx(table(read_table(reading))[:, place].mean())
