"""Whether data is what a JSON schema says, as an editor would read it: the words of it that ours uses.

Start with `fits`. Left out: every other word of JSON schema; that ours uses no other is asserted.
"""

from __future__ import annotations

import re
from typing import Any

KNOWN = {"type", "const", "enum", "pattern", "minimum", "maximum", "multipleOf", "anyOf", "oneOf", "not"}
KNOWN |= {"items", "properties", "required", "additionalProperties", "minProperties", "minItems", "maxItems"}
KNOWN |= {"$ref", "$defs", "$schema", "title", "description", "default", "discriminator", "patternProperties"}


def fits(value: Any, schema: dict[str, Any], parts: dict[str, Any]) -> bool:
    """Whether a value is what a JSON schema says: the words of it that ours uses."""
    if "$ref" in schema:
        return fits(value, parts[schema["$ref"].removeprefix("#/$defs/")], parts)
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    kind = schema.get("type")
    if kind in ("integer", "number"):
        if not isinstance(value, int) or isinstance(value, bool):
            return False
    elif kind is not None and not isinstance(value, kinds[kind]):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        return False
    if kind == "integer" and not _in_range(value, schema):
        return False
    if "not" in schema and fits(value, schema["not"], parts):
        return False
    for word in ("anyOf", "oneOf"):
        if word in schema:
            fitting = sum(fits(value, each, parts) for each in schema[word])
            if not fitting or (word == "oneOf" and fitting > 1):
                return False
    if isinstance(value, list) and "items" in schema:
        return all(fits(item, schema["items"], parts) for item in value)
    if isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
        if not set(schema.get("required", ())) <= value.keys():
            return False
        for key, item in value.items():
            named = [
                of for pattern, of in schema.get("patternProperties", {}).items() if re.search(pattern, key)
            ]
            of_key = known.get(key, named[0] if named else rest)
            if of_key is False or (of_key is not True and not fits(item, of_key, parts)):
                return False
    return True


def _in_range(value: int, schema: dict[str, Any]) -> bool:
    low, high = schema.get("minimum", value), schema.get("maximum", value)
    return low <= value <= high and value % schema.get("multipleOf", 1) == 0


def words_of(schema: Any) -> set[str]:
    """Return the words that a schema uses; names of properties and parts are none."""
    if isinstance(schema, list):
        return set().union(*map(words_of, schema))
    if not isinstance(schema, dict):
        return set()
    found = set(schema)
    for word, inner in schema.items():
        if word in ("properties", "patternProperties", "$defs"):
            found |= set().union(*map(words_of, inner.values()))
        elif word not in ("default", "enum", "discriminator"):
            found |= words_of(inner)
    return found
