"""The list of step labels against the phases that carry them."""

from __future__ import annotations

import re
from pathlib import Path

CORE = Path(__file__).parents[2] / "rust" / "core" / "src"
LIST = CORE / "step" / "label.rs"
LABEL = re.compile(r'"((?:[A-Z]{2}[0-9.]*-[0-9a-z-]+)|PREP-1)"')


def test_every_step_label_is_carried_by_a_phase_and_every_phase_uses_a_listed_one() -> None:
    """Goal: `run_until` knows exactly the steps at which a call can be. Method: compare the literals."""
    listed = set(LABEL.findall(LIST.read_text()))
    sources = (path for path in CORE.rglob("*.rs") if path != LIST)
    carried = {label for path in sources for label in LABEL.findall(path.read_text())}
    assert carried == listed
