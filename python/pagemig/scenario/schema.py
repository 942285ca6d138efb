"""The JSON schema of a scenario, for editors that complete and check TOML.

Made from the model, so the two cannot differ.
"""

from __future__ import annotations

from typing import Any

from .model import Page

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the JSON schema of a scenario.

    Examples
    --------
    >>> schema()["required"]
    ['title', 'machine']
    """
    return {"$schema": DIALECT, **Page.model_json_schema(mode="validation")}
