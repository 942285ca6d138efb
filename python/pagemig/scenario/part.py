"""What every part of a scenario's page is built from: `Part`, and for what is done `Step`.

Above: `pagemig.scenario.call_steps` and `pagemig.scenario.setup_steps`, one class a verb.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from .values import TaskName


class Part(BaseModel):
    """A part of a scenario: frozen, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Step(Part):
    """One thing that is done."""

    by: TaskName | None = None
    """The task that does it; the kernel if left out, where the kernel can."""


class ByTask(Step):
    """One thing that only a task can do."""

    by: TaskName
    """The task that does it."""
