"""Takes one prompt through ComfyUI: queued, followed to its end, or stopped.

The websocket only says when to look; the history decides. So nothing hangs when a prompt was over
before the socket was open, when the socket drops or falls silent, or when ComfyUI is restarted.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import structlog

from muster.errors import MusterError
from muster.worker.connectors.comfyui.api import PromptRefused, Unreachable, shortened
from muster.worker.connectors.comfyui.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muster.worker.connectors.comfyui.api import ComfyApi, Frames

    Report = Callable[[float, str], Awaitable[None]]

SILENCE_S = 2.0
POLL_S = 0.5
LOST_AFTER_S = 3.0
STOP_S = 5.0

log = structlog.get_logger()


class PromptLost(MusterError):
    """ComfyUI no longer knows the prompt: it was restarted, or somebody deleted the prompt."""


async def execute(
    api: ComfyApi, graph: dict[str, Any], report: Report
) -> tuple[str, dict[str, Any]]:
    """Run a graph and return its prompt id and its record in the history.

    Client id and prompt id are new each time: ComfyUI confuses two sockets of one client, and
    runs two prompts of one id. Raises ``PromptRefused``, ``PromptLost`` and what ``ComfyApi``
    raises. However it ends early, by cancellation too, the prompt does not go on running.
    """
    prompt_id, client_id = str(uuid.uuid4()), uuid.uuid4().hex
    async with api.listen(client_id) as frames:
        submission = asyncio.ensure_future(
            api.submit(graph, prompt_id=prompt_id, client_id=client_id)
        )
        try:
            node_errors = await asyncio.shield(submission)
            if node_errors:
                message = "ComfyUI dropped some outputs of the graph as invalid."
                raise PromptRefused(  # noqa: TRY301  (the prompt is stopped below)
                    message, {"node_errors": shortened(node_errors)}
                )
            return prompt_id, await _followed(api, frames, prompt_id, graph, report)
        except BaseException:  # whatever it was, the GPU is not to go on with it
            await _settle(submission)
            await stop(api, prompt_id)
            raise


async def stop(api: ComfyApi, prompt_id: str) -> None:
    """Cancel a prompt and wait until it has stopped, for a few seconds at most."""
    try:
        async with asyncio.timeout(STOP_S):
            await api.cancel(prompt_id)
            while await api.is_queued(prompt_id):  # noqa: ASYNC110  (nobody tells when it stops)
                await asyncio.sleep(0.05)
    except TimeoutError:
        log.warning("prompt_does_not_stop", prompt_id=prompt_id, waited_s=STOP_S)
    except MusterError as error:
        log.warning("prompt_not_stopped", prompt_id=prompt_id, reason=str(error))


async def _settle(submission: asyncio.Future[dict[str, Any]]) -> None:
    """Wait for a submission under way: a prompt can be cancelled only once it is queued."""
    await asyncio.wait({submission}, timeout=STOP_S)
    submission.cancel()
    await asyncio.gather(submission, return_exceptions=True)


async def _followed(
    api: ComfyApi, frames: Frames, prompt_id: str, graph: dict[str, Any], report: Report
) -> dict[str, Any]:
    progress = Progress(graph)
    patience = Patience()
    while True:
        frame = await _next_frame(frames, prompt_id)
        if frame is not None and not _is_last(frame):
            if progress.saw(frame["type"], frame["data"]):
                await report(progress.fraction, progress.message)
            continue
        try:
            record = await _look(api, prompt_id)
        except Unreachable:
            if patience.is_over():
                raise
            continue
        patience.renew()
        if record is not None:
            return record


class Patience:
    """How long a service that does not answer is waited for: a network may hiccup."""

    def __init__(self) -> None:
        self._since: float | None = None

    def renew(self) -> None:
        """Note that it answered."""
        self._since = None

    def is_over(self) -> bool:
        """Note that it did not answer; whether that has lasted too long."""
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
        return now - self._since >= LOST_AFTER_S


async def _next_frame(frames: Frames, prompt_id: str) -> dict[str, Any] | None:
    """Return the next frame about this prompt; None when it is time to look without one."""
    if not frames.open:
        await asyncio.sleep(POLL_S)
        return None
    try:
        async with asyncio.timeout(SILENCE_S):
            while (frame := await frames.next()) is not None:
                if frame["data"].get("prompt_id") == prompt_id:
                    return frame
    except TimeoutError:
        pass
    return None


def _is_last(frame: dict[str, Any]) -> bool:
    """Whether a frame is the one that is sent after the history was written."""
    return frame["type"] == "executing" and frame["data"].get("node") is None


async def _look(api: ComfyApi, prompt_id: str) -> dict[str, Any] | None:
    """Return the record of a prompt, None while it waits or runs. Raises ``PromptLost``."""
    record = await api.history(prompt_id)
    if record is None and not await api.is_queued(prompt_id):
        record = await api.history(prompt_id)  # it may have ended between the two questions
        if record is None:
            raise PromptLost
    return record
