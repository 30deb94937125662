"""A server that behaves as GitHub's release downloads do: redirects, ranges, limits and faults.

Start it with ``python -m muster.simulation.releases --directory DIR``, or embed
``create_app(Options(DIR))`` in a test. It serves what lies in the folder at that moment:

- ``DIR/{owner}/{repo}/{tag}/{asset}``, a file of a release;
- ``DIR/{owner}/{repo}/latest``, a text file that holds the tag of the latest release;
- ``DIR/files/{path}``, any other file, at ``/files/{path}``.

Besides GitHub's own addresses it has ``/simulation/faults`` (faults on demand) and
``/simulation/log`` (what was asked of it, and what it answered).
"""
