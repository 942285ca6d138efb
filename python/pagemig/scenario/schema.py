"""The JSON schema of a scenario, for editors that complete and check TOML.

Made from the model, so the two cannot differ.
"""

from __future__ import annotations

from typing import Any

from .model import FILE_SYSTEMS, Page

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the JSON schema of a scenario.

    Returns
    -------
    dict
        A document of JSON Schema, draft 2020-12.

    Examples
    --------
    >>> schema()["required"]
    ['title', 'machine']
    """
    made = {"$schema": DIALECT, **Page.model_json_schema(mode="validation")}
    parts = made["$defs"]
    size = parts["NodePart"]["properties"]["memory"]["anyOf"][0]
    node = {"anyOf": [size, {"$ref": "#/$defs/NodePart"}]}
    named = {"type": "object", "additionalProperties": node, "minProperties": 1}
    listed = {"type": "array", "items": node, "minItems": 1}
    told = parts["MachinePart"]["properties"]["nodes"].get("description", "")
    parts["MachinePart"]["properties"]["nodes"] = {"anyOf": [listed, named], "description": told}
    words = {"type": "string", "enum": list(FILE_SYSTEMS)}
    told = parts["FilePart"]["properties"]["filesystem"].get("description", "")
    table = {"$ref": "#/$defs/FileSystemPart"}
    parts["FilePart"]["properties"]["filesystem"] = {"anyOf": [words, table], "description": told}
    for part in made["properties"].values():
        if "patternProperties" in part:  # A key that is no name is a mistake.
            part["additionalProperties"] = False
    return made
