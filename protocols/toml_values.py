"""TOML's lists as tuples: what our frozen, strict models take. The one thing that every reader of our files does."""

from typing import Any


def lists_as_tuples(value: Any) -> Any:
    """A value of a TOML or JSON document with every list in it made a tuple, however deep."""
    if isinstance(value, dict):
        return {key: lists_as_tuples(inner) for key, inner in value.items()}
    return tuple(lists_as_tuples(inner) for inner in value) if isinstance(value, list) else value
