"""Checks a graph as ComfyUI does before it is queued, and orders its nodes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from muster.simulation.comfyui.checks import (
    Graph,
    Problem,
    crashed,
    is_link,
    node_problems,
    problem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from muster.simulation.comfyui.nodes import NodeType


@dataclass(frozen=True, slots=True)
class Verdict:
    """``error`` refuses the whole graph; otherwise ``outputs`` run and ``node_errors`` do not."""

    error: Problem | None = None
    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, Problem] = field(default_factory=dict)


def validate(graph: Graph, types: Mapping[str, NodeType]) -> Verdict:
    """Check a graph. An output that depends on a bad node is dropped, and the others still run."""
    for node_id, node in graph.items():
        name = node.get("class_type")
        if name not in types:
            message = (
                f"Cannot execute because node {name} does not exist."
                if name
                else "Cannot execute because a node is missing the class_type property."
            )
            return Verdict(problem("invalid_prompt", message, f"Node ID '#{node_id}'"))
    outputs = [node_id for node_id, node in graph.items() if types[node["class_type"]].output]
    if not outputs:
        return Verdict(problem("prompt_no_outputs", "Prompt has no outputs"))

    good: list[str] = []
    errors: dict[str, Problem] = {}
    for output in outputs:
        bad = _problems_behind(graph, types, output)
        for node_id, problems in bad.items():
            entry = errors.setdefault(
                node_id,
                {
                    "errors": problems,
                    "dependent_outputs": [],
                    "class_type": graph[node_id]["class_type"],
                },
            )
            entry["dependent_outputs"].append(output)
        if not bad:
            good.append(output)
    if good:
        return Verdict(outputs=good, node_errors=errors)
    details = "\n".join(each["message"] for entry in errors.values() for each in entry["errors"])
    refused = problem(
        "prompt_outputs_failed_validation", "Prompt outputs failed validation", details
    )
    return Verdict(refused, node_errors=errors)


def in_order(graph: Graph, outputs: list[str], cached: Callable[[str], bool]) -> list[str]:
    """Return what has to run for ``outputs``, each node after those that it depends on.

    Cached nodes end the search, except that outputs are always among the result.
    """
    order: list[str] = []

    def visit(node_id: str) -> None:
        if node_id in order:
            return
        if not cached(node_id):
            for source in _sources(graph, node_id):
                if not cached(source):
                    visit(source)
        order.append(node_id)

    for output in outputs:
        visit(output)
    return order


def signatures(graph: Graph, outputs: list[str], input_folder: Path) -> dict[str, str]:
    """Return for each node behind ``outputs`` a digest of all that its result depends on."""
    found: dict[str, str] = {}
    for node_id in in_order(graph, outputs, lambda _: False):
        node = graph[node_id]
        parts: list[Any] = [node["class_type"]]
        for name, value in sorted(node.get("inputs", {}).items()):
            parts.append([name, [found.get(value[0]), value[1]] if is_link(value) else value])
        if node["class_type"] == "LoadImage":
            image = input_folder / node["inputs"]["image"]
            parts.append(hashlib.sha256(image.read_bytes()).hexdigest() if image.exists() else "")
        found[node_id] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return found


def _sources(graph: Graph, node_id: str) -> list[str]:
    values = graph[node_id].get("inputs", {}).values()
    return [value[0] for value in values if is_link(value) and value[0] in graph]


def _problems_behind(
    graph: Graph, types: Mapping[str, NodeType], output: str
) -> dict[str, list[Problem]]:
    """Return the problems of ``output`` and of all that it depends on, by node."""
    found: dict[str, list[Problem]] = {}
    done: set[str] = set()

    def visit(node_id: str, path: tuple[str, ...]) -> None:
        if node_id in path:
            found[node_id] = [crashed("RecursionError", "maximum recursion depth exceeded")]
            return
        if node_id in done:
            return
        done.add(node_id)
        problems = node_problems(graph, types, node_id)
        if problems:
            found[node_id] = problems
            return
        for source in _sources(graph, node_id):
            visit(source, (*path, node_id))

    visit(output, ())
    return found
