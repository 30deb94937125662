"""Turns ComfyUI's frames into one fraction of the whole prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Progress:
    """How far a graph is: each node counts alike, and the current one by its steps.

    The fraction stays within 0 and 1 and never decreases, whatever the frames say.
    """

    def __init__(self, graph: Mapping[str, Mapping[str, Any]]) -> None:
        self._graph = graph
        self._done: set[str] = set()
        self._current: str | None = None
        self._share = 0.0
        self.fraction = 0.0
        self.message = ""

    def saw(self, event: str, data: Mapping[str, Any]) -> bool:
        """Take a frame in; whether it changed anything."""
        match event:
            case "execution_cached":
                self._done.update(data.get("nodes") or [])
            case "executing":
                self._start(data.get("display_node") or data.get("node"))
            case "executed":
                self._done.add(str(data.get("display_node") or data.get("node")))
            case "progress":
                self._step(data.get("value"), data.get("max"))
            case _:
                return False
        self._update()
        return True

    def _start(self, node: str | None) -> None:
        if self._current is not None and self._current != node:
            self._done.add(self._current)
        self._current, self._share = node, 0.0
        self.message = self._name(node)

    def _step(self, value: Any, total: Any) -> None:
        if isinstance(value, int | float) and isinstance(total, int | float) and total > 0:
            self._share = min(1.0, max(0.0, value / total))
            self.message = f"{self._name(self._current)} {value}/{total}".strip()

    def _update(self) -> None:
        done = len(self._done & self._graph.keys())
        running = self._share if self._current not in self._done else 0.0
        now = min(1.0, (done + running) / len(self._graph))
        self.fraction = max(self.fraction, now)

    def _name(self, node: str | None) -> str:
        return str(self._graph.get(node or "", {}).get("class_type", ""))
