"""Runs prompts one after the other, and tells their story as ComfyUI tells it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import traceback
from typing import TYPE_CHECKING, Any

from muster.simulation.comfyui.checks import is_link
from muster.simulation.comfyui.faults import Faults, Kind
from muster.simulation.comfyui.graph import in_order, signatures
from muster.simulation.comfyui.hub import Hub
from muster.simulation.comfyui.nodes import Call, NodeType, Result, node_types
from muster.simulation.comfyui.png import make_png
from muster.simulation.comfyui.prompts import Item, Prompts

if TYPE_CHECKING:
    from muster.simulation.comfyui.options import Options


class Interrupted(Exception):
    """Somebody interrupted the running prompt."""


class Forgotten(Exception):
    """A simulated restart took the running prompt away."""


class Executor:
    """The state of one simulated ComfyUI: its queue, its cache, its sockets, its faults."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.prompts = Prompts()
        self.hub = Hub()
        self.faults = Faults()
        self.cache: dict[str, Result] = {}
        self.interrupted = False
        self.executed = 0
        self.current: Execution | None = None

    def announce(self) -> None:
        """Tell everybody how long the queue is."""
        self.hub.send("status", self.status())

    def status(self) -> dict[str, Any]:
        """Return the data of a ``status`` frame."""
        return {"status": {"exec_info": {"queue_remaining": self.prompts.remaining}}}

    async def work(self) -> None:
        """Run prompts, for ever."""
        while True:
            item = await self.prompts.take()
            self.announce()
            self.interrupted = False
            execution = self.current = Execution(self, item)
            try:
                outcome = await execution.run()
            except Forgotten:
                self.cache.clear()
                continue
            finally:
                self.executed += 1
                self.current = None
            # ComfyUI says execution_success first and writes the history after.
            await asyncio.sleep(execution.step_time)
            self.prompts.finish(item, outcome)
            self.announce()
            execution.say("executing", {"node": None, "prompt_id": item[1]})


class Execution:
    """One run of one prompt."""

    def __init__(self, executor: Executor, item: Item) -> None:
        _, self.prompt_id, self.graph, extra_data, self.outputs = item
        self.client_id: str | None = extra_data.get("client_id")
        self.node_id: str | None = None
        self._executor = executor
        self._types: dict[str, NodeType] = node_types(executor.options)
        self._silent = executor.faults.fires(Kind.SILENT)
        self.step_time = executor.options.step_time * executor.faults.slowdown()
        self._steps = 0
        self._messages: list[list[Any]] = []
        self._nodes: dict[str, dict[str, Any]] = {}
        self._signatures = signatures(self.graph, self.outputs, executor.options.folders.input)

    def say(self, event: str, data: dict[str, Any]) -> None:
        """Send a frame to the prompt's client. One without a client is told to nobody."""
        if self.client_id is not None and not self._silent:
            self._executor.hub.send(event, data, self.client_id)

    async def run(self) -> dict[str, Any]:
        """Run the graph and return its entry in the history, without the prompt."""
        cache = self._executor.cache
        for key in cache.keys() - set(self._signatures.values()):
            del cache[key]  # ComfyUI keeps only what the latest prompt can use
        cached = [node for node, key in self._signatures.items() if key in cache]
        self._note("execution_start")
        self._note("execution_cached", nodes=cached)
        status = "success"
        for node_id in in_order(self.graph, self.outputs, lambda node: node in cached):
            self.node_id = node_id
            try:
                await self._run_node(node_id)
            except Forgotten:
                raise
            except Exception as error:  # noqa: BLE001  (a node may raise anything)
                self._note_failure(error)
                status = "error"
                break
        else:
            self._note("execution_success")
        self.node_id = None
        return {
            "outputs": {node: ui for node in self.graph if (ui := self._ui(node)) is not None},
            "status": {
                "status_str": status,
                "completed": status == "success",
                "messages": self._messages,
            },
            "meta": {node: self._meta(node) for node in self.graph if self._ui(node) is not None},
        }

    async def _run_node(self, node_id: str) -> None:
        cache, key = self._executor.cache, self._signatures[node_id]
        if key not in cache:
            self._check_interrupt()
            self._report(node_id, "running", 0, 1)
            self.say(
                "executing",
                {"node": node_id, "display_node": node_id, "prompt_id": self.prompt_id},
            )
            cache[key] = await self._compute(node_id)
            self._report(node_id, "finished", 1, 1, tell=False)
        if (ui := cache[key].ui) is not None:
            data = {"node": node_id, "display_node": node_id, "output": ui}
            self.say("executed", {**data, "prompt_id": self.prompt_id})
        self._tell_progress()

    async def _compute(self, node_id: str) -> Result:
        node = self.graph[node_id]
        name, faults = node["class_type"], self._executor.faults
        if faults.fires(Kind.RAISE, name):
            raise RuntimeError(f"simulated failure of {name}")
        if faults.fires(Kind.HANG, name):
            await asyncio.Event().wait()
        call = Call(
            node_id=node_id,
            signature=self._signatures[node_id],
            inputs={key: self._resolved(value) for key, value in node.get("inputs", {}).items()},
            folders=self._executor.options.folders,
            step=self._step,
        )
        if name != "KSampler":
            await asyncio.sleep(self.step_time)
        return await self._types[name].run(call)

    def _resolved(self, value: Any) -> Any:
        if not is_link(value):
            return value
        source, slot = value
        return self._executor.cache[self._signatures[source]].values[slot]

    async def _step(self, value: int, total: int) -> None:
        assert self.node_id is not None  # noqa: S101  (only nodes take steps)
        await asyncio.sleep(self.step_time)
        self._check_interrupt()
        self._steps += 1
        await self._strike(str(self._steps))
        self._report(self.node_id, "running", value, total)
        about = {"prompt_id": self.prompt_id, "node": self.node_id}
        self.say("progress", {"value": value, "max": total, **about})
        if self._executor.options.previews and self.client_id is not None and not self._silent:
            image = make_png(f"{self._signatures[self.node_id]}-{value}")
            metadata = {"node_id": self.node_id, "prompt_id": self.prompt_id}
            self._executor.hub.send_preview(image, metadata, self.client_id)

    async def _strike(self, step: str) -> None:
        """Let the faults happen that are armed for this sampling step."""
        faults = self._executor.faults
        if faults.fires(Kind.DIE, step):
            os.kill(os.getpid(), signal.SIGKILL)
        if faults.fires(Kind.DROP, step):
            await self._executor.hub.drop()
        if faults.fires(Kind.FORGET, step):
            self._executor.prompts.forget()
            await self._executor.hub.drop()
            raise Forgotten

    def _check_interrupt(self) -> None:
        if self._executor.interrupted:
            self._executor.interrupted = False
            raise Interrupted

    def _ui(self, node_id: str) -> dict[str, Any] | None:
        result = self._executor.cache.get(self._signatures.get(node_id, ""))
        return result.ui if result else None

    def _report(
        self, node_id: str, state: str, value: int, total: int, *, tell: bool = True
    ) -> None:
        self._nodes[node_id] = {
            "value": value,
            "max": total,
            "state": state,
            "prompt_id": self.prompt_id,
            **self._meta(node_id),
        }
        if tell:
            self._tell_progress()

    def _tell_progress(self) -> None:
        self.say("progress_state", {"prompt_id": self.prompt_id, "nodes": self._nodes})

    def _meta(self, node_id: str) -> dict[str, Any]:
        return {
            "node_id": node_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }

    def _note(self, event: str, **data: Any) -> None:
        """Send a message that the history keeps."""
        message = {**data, "prompt_id": self.prompt_id, "timestamp": int(time.time() * 1000)}
        self._messages.append([event, message])
        self.say(event, message)

    def _note_failure(self, error: Exception) -> None:
        node_id = self.node_id
        assert node_id is not None  # noqa: S101  (only nodes fail)
        about = {
            "node_id": node_id,
            "node_type": self.graph[node_id]["class_type"],
            "executed": [node for node in self._nodes if node != node_id],
        }
        if isinstance(error, Interrupted):
            self._note("execution_interrupted", **about)
            return
        kind = type(error)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        self._note(
            "execution_error",
            **about,
            exception_message=str(error),
            exception_type=f"{module}{kind.__qualname__}",
            traceback=traceback.format_tb(error.__traceback__),
            current_inputs={},
            current_outputs=[],
        )
