"""A better simulation would change the abtem renderer's images little."""

from __future__ import annotations

from stemscout.simulators.convergence import changes


def test_grid_slices_and_margin_are_fine_enough():
    """Levels within 3 %, images alike at 0.999; docs/physics.md has all specimens."""
    found = list(changes("mos2"))
    assert [c.better for c in found] == [
        "grid twice as fine",
        "slices half as thick",
        "margin three times as wide",
    ]
    for of in found:
        assert set(of.level) == {"haadf", "maadf", "abf", "bf"}
        assert all(abs(v) < 0.03 for v in of.level.values()), of
        assert min(of.correlation.values()) > 0.999, of
        assert any(v != 0.0 for v in of.level.values()), "it is another simulation"
