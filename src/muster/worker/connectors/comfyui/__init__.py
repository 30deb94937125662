"""The connector to ComfyUI, by its own HTTP and websocket protocol."""

from muster.worker.connectors.comfyui.connector import ComfyUI

__all__ = ["ComfyUI"]
