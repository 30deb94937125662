"""A server that behaves like ComfyUI 0.3.64, without a GPU: same endpoints, frames and traps.

Start it with ``python -m muster.simulation.comfyui --port 8188``, or embed
``create_app(Options(...))`` in a test. Besides ComfyUI's own endpoints it has ``/simulation``
(what it is and what it did) and ``/simulation/faults`` (faults on demand).
"""
