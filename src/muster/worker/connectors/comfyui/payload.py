"""What a ComfyUI job's payload must look like, before anything is done for it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from muster.worker.connectors.comfyui.failures import INVALID_PAYLOAD, failed

NodeId = Annotated[str, StringConstraints(pattern=r"^\w[\w:.-]*$", max_length=64)]
FileName = Annotated[str, StringConstraints(pattern=r"^\w([\w ()+-]|\.\w)*$", max_length=128)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")]
Graph = dict[str, dict[str, Any]]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Node(BaseModel):
    """A node of a graph, in ComfyUI's API format; what else it holds is ComfyUI's business."""

    model_config = ConfigDict(extra="allow", frozen=True)

    class_type: str
    inputs: dict[str, Any] = Field(default_factory=dict)


class InputFile(_Part):
    """A file that the graph reads: where to fetch it, and what it must be."""

    url: str
    sha256: Sha256 | None = None


class Payload(_Part):
    """A graph as ``POST /prompt`` takes it, and the files whose names it mentions."""

    prompt: dict[NodeId, Node] = Field(min_length=1)
    inputs: dict[FileName, InputFile] = Field(default_factory=dict, max_length=64)

    def graph(self) -> Graph:
        """Return the graph as plain data."""
        return {node_id: node.model_dump() for node_id, node in self.prompt.items()}


def parse(payload: dict[str, Any]) -> Payload:
    """Validate a payload. Raises ``JobFailed`` that names each bad place; it is never retried."""
    try:
        parsed = Payload.model_validate(payload)
    except ValidationError as error:
        problems = {
            ".".join(["payload", *(str(part) for part in each["loc"])]): each["msg"]
            for each in error.errors(include_url=False, include_input=False)
        }
        listed = "; ".join(f"{place}: {problem}" for place, problem in list(problems.items())[:3])
        raise failed(INVALID_PAYLOAD, listed, retryable=False, problems=problems) from None
    unused = parsed.inputs.keys() - _texts(parsed)
    if unused:
        message = f"payload.inputs: no node uses {', '.join(sorted(unused))} as an input"
        raise failed(INVALID_PAYLOAD, message, retryable=False)
    return parsed


def renamed(graph: Graph, names: dict[str, str]) -> Graph:
    """Return the graph with input values that are a key of ``names`` replaced by its value."""

    def replaced(value: Any) -> Any:
        return names.get(value, value) if isinstance(value, str) else value

    return {
        node_id: {
            **node,
            "inputs": {key: replaced(value) for key, value in node["inputs"].items()},
        }
        for node_id, node in graph.items()
    }


def _texts(payload: Payload) -> set[str]:
    values = (value for node in payload.prompt.values() for value in node.inputs.values())
    return {value for value in values if isinstance(value, str)}
