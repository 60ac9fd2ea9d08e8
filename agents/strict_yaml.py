"""YAML in which no key stands twice: plain YAML takes the last one, and says nothing."""

from __future__ import annotations

from typing import Any

import yaml


class _Strict(yaml.SafeLoader):
    """Refuses a mapping that names a key twice, before merges are resolved."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                raise ValueError(
                    f"the key {key.value!r} in line {line} is there already, in line {lines[name]}"
                )
            lines[name] = line
        return node


def read_yaml(text: str) -> Any:
    """The content of a YAML file.

    Raises:
        ValueError: it is not readable, or a key is there twice; the line is told.
    """
    try:
        return yaml.load(text, Loader=_Strict)
    except yaml.YAMLError as error:
        raise ValueError(f"not readable YAML: {error}") from error
    except RecursionError as error:
        raise ValueError("not readable YAML: too many brackets within each other") from error
