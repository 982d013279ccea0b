"""A small, seeded run of the simulation of drift's false alarms; `python -m tests.peers.alarms` is the whole of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from tests.peers import alarms

REFERENCES, CURRENTS = 12, 20
MOST = binom.isf(0.001, REFERENCES * CURRENTS, alarms.LEVEL) / (REFERENCES * CURRENTS)
"""What chance explains where alarms are as often as they may be."""


@pytest.mark.row("D1/change")
@pytest.mark.parametrize("rows", [(200, 200), (1000, 1000)], ids=str)
def test_drift_is_seldom_called_where_there_is_none(rows):
    shares = [alarms.alarms(rows, seed=seed, currents=CURRENTS) for seed in range(REFERENCES)]
    floored, tested = np.mean(shares, axis=0)
    assert floored <= tested <= MOST


def test_drift_is_seldom_called_where_rows_come_in_clusters():
    shares = [alarms.alarms((4000, 2000), seed=seed, currents=CURRENTS, cluster=20) for seed in range(REFERENCES)]
    floored, tested = np.mean(shares, axis=0)
    assert floored <= tested <= MOST
