"""What a finished prompt means for its job: a failure, or files to keep."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from muster.errors import InvalidInput, NotFound
from muster.worker.connectors.comfyui.failures import (
    EXECUTION_ERROR,
    INTERRUPTED,
    OUTPUT_MISSING,
    OUTPUT_REFUSED,
    failed,
)

if TYPE_CHECKING:
    from muster.worker.connectors.base import Context, JobFailed
    from muster.worker.connectors.comfyui.api import ComfyApi

TRACEBACK_FRAMES = 5
TEXT_LENGTH = 2000


def check_success(record: dict[str, Any]) -> None:
    """Raise ``JobFailed`` unless the record says ``success``, in so many words."""
    status = record.get("status") or {}
    if status.get("status_str") == "success":
        return
    messages = status.get("messages") or [["", {}]]
    # An interrupt is recorded as an error too: only the last message tells them apart.
    event, data = messages[-1]
    if event == "execution_interrupted":
        about = f"node {data.get('node_id')} ({data.get('node_type')})"
        raise failed(INTERRUPTED, f"Somebody interrupted the prompt on ComfyUI, in {about}.")
    raise _execution_error(data)


async def keep_outputs(
    api: ComfyApi, record: dict[str, Any], context: Context
) -> dict[str, dict[str, Any]]:
    """Copy the output files to the artifact store and return the outputs with their URLs.

    Temporary previews are left out, and outputs that are no files stay as they are. Raises
    ``JobFailed``, and what ``ComfyApi`` and ``ArtifactStore`` raise when they are away.
    """
    kept: dict[str, dict[str, Any]] = {}
    for node_id, output in record["outputs"].items():
        for key, values in output.items():
            if not _are_files(values):
                kept.setdefault(node_id, {})[key] = values
                continue
            lasting = [file for file in values if file["type"] != "temp"]
            if lasting:
                files = [await _keep(api, node_id, file, context) for file in lasting]
                kept.setdefault(node_id, {})[key] = files
    return kept


async def _keep(
    api: ComfyApi, node_id: str, file: dict[str, Any], context: Context
) -> dict[str, Any]:
    filename, subfolder, kind = file["filename"], file.get("subfolder", ""), file["type"]
    place = [context.job_id, str(context.attempt), node_id, subfolder, filename]
    path = "/".join(part for part in place if part)
    try:
        async with aclosing(api.view(filename, subfolder, kind)) as chunks:
            artifact = await context.artifacts.put(path, chunks)
    except NotFound as error:
        message = f"{error} If the result came from its cache, the file was deleted since."
        raise failed(OUTPUT_MISSING, message, node=node_id, filename=filename) from None
    except InvalidInput as error:
        raise failed(OUTPUT_REFUSED, str(error), retryable=False, node=node_id) from None
    return {**artifact.model_dump(), "filename": filename, "type": kind}


def _are_files(values: Any) -> bool:
    """Whether an output lists files, as images, videos and sounds are listed alike."""
    return (
        isinstance(values, list)
        and bool(values)
        and all(
            isinstance(value, dict) and {"filename", "type"} <= value.keys() for value in values
        )
    )


def _execution_error(data: dict[str, Any]) -> JobFailed:
    kind, told = data.get("exception_type", "Error"), str(data.get("exception_message", "")).strip()
    message = f"{kind} in node {data.get('node_id')} ({data.get('node_type')}): {told}"
    return failed(
        EXECUTION_ERROR,
        message[:TEXT_LENGTH],
        exception_type=kind,
        exception_message=told[:TEXT_LENGTH],
        node_id=data.get("node_id"),
        node_type=data.get("node_type"),
        traceback=[str(line)[:500] for line in (data.get("traceback") or [])[-TRACEBACK_FRAMES:]],
    )
