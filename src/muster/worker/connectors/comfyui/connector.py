"""The connector to ComfyUI (https://github.com/comfyanonymous/ComfyUI)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from muster.artifacts import ArtifactsUnavailable
from muster.worker.connectors.base import ServiceNotReady
from muster.worker.connectors.comfyui.api import (
    ComfyApi,
    PromptRefused,
    UnexpectedAnswer,
    Unreachable,
)
from muster.worker.connectors.comfyui.failures import (
    ARTIFACTS_UNAVAILABLE,
    PROMPT_REFUSED,
    SERVICE_ERROR,
    SERVICE_LOST,
    failed,
)
from muster.worker.connectors.comfyui.inputs import Inputs
from muster.worker.connectors.comfyui.outcome import check_success, keep_outputs
from muster.worker.connectors.comfyui.payload import parse
from muster.worker.connectors.comfyui.run import PromptLost, execute

if TYPE_CHECKING:
    from muster.worker.connectors.base import Context
    from muster.worker.settings import WorkerSettings


class ComfyUI:
    """Runs graphs on one ComfyUI.

    A job's payload is ``{"prompt": graph, "inputs": {"name.png": {"url": …, "sha256": …}}}``: the
    graph in ComfyUI's API format, and optionally files that nodes mention by those names. The
    result is ``{"outputs": {node: {"images": [{"url", "size", "sha256", "filename", "type"}]}},
    "prompt_id": …}``.
    """

    service = "comfyui"

    def __init__(self, api: ComfyApi, inputs: Inputs) -> None:
        self._api = api
        self._inputs = inputs

    @classmethod
    def from_settings(cls, settings: WorkerSettings) -> Self:
        """Make one for a worker."""
        return cls(ComfyApi(settings.service_url), Inputs(settings.input_hosts))

    async def ready(self) -> None:
        """Ask ComfyUI for its system statistics. Raises ``ServiceNotReady``."""
        try:
            await self._api.system_stats()
        except (Unreachable, UnexpectedAnswer) as error:
            raise ServiceNotReady(str(error)) from None

    async def run(self, context: Context) -> dict[str, Any]:
        """Run one attempt. Raises ``JobFailed``, or ``ServiceNotReady`` before anything began."""
        payload = parse(context.request.payload)
        await self.ready()
        try:
            graph = await self._inputs.bring(self._api, payload, context)
            prompt_id, record = await execute(self._api, graph, context.progress)
            check_success(record)
            outputs = await keep_outputs(self._api, record, context)
        except PromptRefused as error:
            raise failed(PROMPT_REFUSED, str(error), retryable=False, **error.problems) from None
        except (PromptLost, Unreachable) as error:
            raise failed(SERVICE_LOST, str(error)) from None
        except UnexpectedAnswer as error:
            raise failed(SERVICE_ERROR, str(error)) from None
        except ArtifactsUnavailable as error:
            raise failed(ARTIFACTS_UNAVAILABLE, str(error)) from None
        return {"outputs": outputs, "prompt_id": prompt_id}

    async def close(self) -> None:
        """Let go of connections."""
        await self._api.close()
        await self._inputs.close()
