"""The release server in a container, and a package of what its image holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from muster.simulation.releases.log import Request
from support.system.containers import awaited

if TYPE_CHECKING:
    from docker.models.containers import Container

RELEASES_PORT = 8080
REPOSITORY = "acme/muster"

# A package as `nox -s package` makes it, from what is installed in the image itself.
_PACK = """
import hashlib, sys
from pathlib import Path
from zipfile import ZipFile
from muster.downloads.settings import ASSET
import muster
code = Path(muster.__file__).parents[1]
target = Path("/data", *sys.argv[1:], ASSET)
target.parent.mkdir(parents=True)
with ZipFile(target, "w") as package:
    for file in sorted(code.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            package.write(file, Path("site-packages", file.relative_to(code)))
digest = hashlib.sha256(target.read_bytes()).hexdigest()
Path(f"{target}.sha256").write_text(f"{digest}  {ASSET}")
print(ASSET, digest)
"""


@dataclass
class Releases:
    """A running release server, with one release of the machine's own code."""

    container: Container
    url: str
    asset: str = ""
    sha256: str = ""

    def publish(self, tag: str) -> None:
        """Publish what is installed in the image, under that tag."""
        self._until_it_answers()
        code, output = self.container.exec_run(["python", "-c", _PACK, REPOSITORY, tag])
        assert code == 0, output
        assert isinstance(output, bytes)
        self.asset, self.sha256 = output.decode().split()

    def settings(self, tag: str) -> dict[str, str]:
        """Return the environment of a machine that runs that release."""
        return {"WORKER_RELEASE": f"{REPOSITORY}@{tag}"}

    def arm(self, fault: str) -> None:
        """Arm a fault; see ``python -m muster.simulation.releases --help``."""
        self._control("POST", "faults", json={"fault": fault})

    def clear(self) -> None:
        """Forget faults and requests."""
        self._control("DELETE", "faults")
        self._control("DELETE", "log")

    def log(self, path: str) -> list[Request]:
        """Return the requests whose path contains that."""
        answer = self._control("GET", "log").json()
        return [Request(**each) for each in answer if path in each["path"]]

    def _control(self, method: str, what: str, **options: object) -> httpx.Response:
        url = f"{self.url}/simulation/{what}"
        with httpx.Client(trust_env=False) as client:
            return client.request(method, url, **options).raise_for_status()  # type: ignore[arg-type]

    def _until_it_answers(self) -> None:
        awaited(
            lambda: self._control("GET", "log").is_success,
            "the release server answers",
            of=self.container,
            hint="its options are in envs/staging.compose.yaml.",
            ignoring=(httpx.TransportError,),
        )
