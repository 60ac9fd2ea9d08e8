"""The table of renderers: what it measures is what it says."""

from __future__ import annotations

import pytest

from stemscout.benchmarks.simulate import rows


def test_a_row_for_each_way_of_simulating():
    fast, exact = rows(("graphene",), with_plain=False)
    assert (fast.renderer, exact.renderer) == ("fast", "abtem")
    assert fast.correlation >= 0.98
    assert fast.field_nm == 24.0
    for row in (fast, exact):
        assert row.peak_mib > 50
        assert row.seconds > 0
    assert fast.probes_per_s == pytest.approx(fast.probes / fast.seconds)
    # The design's promise: 500 times as fast as multislice, both measured here and now.
    assert fast.probes_per_s >= 500 * exact.probes_per_s


@pytest.mark.slow
@pytest.mark.parametrize("name", ["graphene", "nio_lsmo"])
def test_tiles_are_faster_than_plain_abtem_and_agree_with_it(name):
    """Five times as fast at correlation 0.999, for the same phonon configuration."""
    found = {(r.renderer, r.compared): r for r in rows((name,))}
    tiled = found[("abtem", "1 configuration, no source blur")]
    plain = next(r for (k, _), r in found.items() if k == "abTEM, plain")
    fine = next(r for (k, _), r in found.items() if k == "abTEM, plain, fine")
    assert tiled.seconds * 5 <= plain.seconds
    assert fine.seconds >= plain.seconds
    each = dict(part.split() for part in fine.compared.removeprefix("least of ").split(", "))
    assert set(each) == {"haadf", "maadf", "abf", "bf"}
    for detector, correlation in each.items():
        assert float(correlation) >= 0.999, detector


def test_unknown_specimens_are_refused_at_once():
    with pytest.raises(ValueError, match="unknown specimen 'diamond'"):
        next(rows(("diamond",)))
