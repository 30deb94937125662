"""Checks one node of a graph, with the error texts of ComfyUI's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from muster.simulation.comfyui.nodes import Input, NodeType

Graph = dict[str, dict[str, Any]]
Problem = dict[str, Any]

_CONVERTERS: dict[str, Callable[[Any], Any]] = {"INT": int, "FLOAT": float, "STRING": str}


def problem(kind: str, message: str, details: str = "", **extra_info: Any) -> Problem:
    """Return an error in the shape of ComfyUI's API."""
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info}


def crashed(kind: str, details: str) -> Problem:
    """Return what ComfyUI answers when its own check raises an exception."""
    return problem(
        "exception_during_validation",
        "Exception when validating node",
        details,
        exception_type=kind,
        traceback=[],
    )


def is_link(value: Any) -> bool:
    """Whether an input's value is another node's output: ``[node id, slot]``."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def node_problems(graph: Graph, types: Mapping[str, NodeType], node_id: str) -> list[Problem]:
    """Return what is wrong with the inputs of a node."""
    node = graph[node_id]
    given = node.get("inputs", {})
    problems: list[Problem] = []
    for name, spec in types[node["class_type"]].inputs.items():
        if name not in given:
            problems.append(_of(name, "required_input_missing", "Required input is missing"))
        elif isinstance(given[name], list):
            problems += _link_problems(graph, types, name, spec, given[name])
        elif isinstance(spec[0], list):
            problems += _choice_problems(name, spec, given[name])
        else:
            problems += _value_problems(name, spec, given[name])
    return problems


def _link_problems(
    graph: Graph, types: Mapping[str, NodeType], name: str, spec: Input, link: list[Any]
) -> list[Problem]:
    if not is_link(link):
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        return [_of(name, "bad_linked_input", message, received_value=link)]
    source, slot = link
    if source not in graph:
        return [crashed("KeyError", repr(source))]
    returns = types[graph[source]["class_type"]].returns
    if not isinstance(slot, int) or not 0 <= slot < len(returns):
        return [crashed("IndexError", "tuple index out of range")]
    wanted = "COMBO" if isinstance(spec[0], list) else spec[0]
    if wanted in {"*", returns[slot]}:
        return []
    return [
        problem(
            "return_type_mismatch",
            "Return type mismatch between linked nodes",
            f"{name}, received_type({returns[slot]}) mismatch input_type({wanted})",
            input_name=name,
            received_type=returns[slot],
            linked_node=link,
        )
    ]


def _choice_problems(name: str, spec: Input, value: Any) -> list[Problem]:
    choices, about = spec
    if value in choices:
        return []
    if "image_upload" in about:
        message = "Custom validation failed for node"
        details = f"{name} - Invalid image file: {value}"
        return [problem("custom_validation_failed", message, details, input_name=name)]
    details = f"{name}: '{value}' not in {choices}"
    return [problem("value_not_in_list", "Value not in list", details, input_name=name)]


def _value_problems(name: str, spec: Input, value: Any) -> list[Problem]:
    kind, limits = spec
    converter = _CONVERTERS.get(str(kind))
    if converter is None:
        return []  # ComfyUI does not look at a plain value given for a linked type
    try:
        converted = converter(value)
    except (TypeError, ValueError) as error:
        message = f"Failed to convert an input value to a {kind} value"
        details = f"{name}, {value}, {error}"
        return [problem("invalid_input_type", message, details, input_name=name)]
    if "min" in limits and converted < limits["min"]:
        message = f"Value {converted} smaller than min of {limits['min']}"
        return [_of(name, "value_smaller_than_min", message, received_value=value)]
    if "max" in limits and converted > limits["max"]:
        message = f"Value {converted} bigger than max of {limits['max']}"
        return [_of(name, "value_bigger_than_max", message, received_value=value)]
    return []


def _of(name: str, kind: str, message: str, **extra_info: Any) -> Problem:
    return problem(kind, message, name, input_name=name, **extra_info)
