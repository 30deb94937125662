"""The sessions of the test matrix. ``nox`` alone runs what to run before a push.

Arguments after ``--`` reach pytest: ``nox -s unit -- -k lease -n0``.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import socket
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True

PYPROJECT = nox.project.load_toml("pyproject.toml")
# One more than cores, since tests also wait; the long ones are not to run last.
SIDE_BY_SIDE = (f"-n{(os.cpu_count() or 1) + 1}", "--dist=worksteal")
LOCKED = {
    "test": ["pyproject.toml", "--extra=embedded", "--group=test", "--group=build"],
    "system": ["pyproject.toml", "--group=system", "--group=build"],
    "image": ["pyproject.toml", "--group=image"],
    "lint": ["--group=lint", "--group=build"],
    "types": [
        "pyproject.toml",
        "--extra=embedded",
        "--group=types",
        "--group=system",
        "--group=build",
    ],
    "package": ["pyproject.toml"],
    "build-package": ["--group=package", "--group=build"],
    "bench": ["pyproject.toml", "--extra=embedded", "--group=bench", "--group=build"],
}


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format, the direction of imports, the pre-commit configuration."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("pre-commit", "validate-config")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session, "types")
    session.run("mypy", *session.posargs)


@nox.session
def unit(session: nox.Session) -> None:
    """Run the tests without a network; they cover more than 90 % of lines and branches."""
    run_unit(session)


for version in nox.project.python_versions(PYPROJECT):

    @nox.session(name=f"unit-{version}", python=version, default=False)
    def unit_on(session: nox.Session) -> None:
        """Run the unit tests on one Python."""
        run_unit(session)


@nox.session
def integration(session: nox.Session) -> None:
    """Run the tests with real processes, real HTTP and Redis over TCP."""
    install(session, "test")
    run_tests(session, "tests/integration")


for count in range(1, 9):

    @nox.session(name=f"system-{count}gpu", tags=["system"], default=False)
    def system(session: nox.Session, gpus: int = count) -> None:
        """Run whole fleets in containers, with machines of that many GPUs."""
        run_system(session, "tests/system/fleet", f"--gpus={gpus}")


@nox.session(name="system-scaling", tags=["system"], default=False)
def system_scaling(session: nox.Session) -> None:
    """Compare machines of 1 and of 8 GPUs, in one run."""
    run_system(session, "tests/system/scaling", "--capture=no")


@nox.session(name="system-setup", tags=["system"], default=False)
def system_setup(session: nox.Session) -> None:
    """Start the compose files as people do; see that no run leaves anything behind."""
    run_system(session, "tests/system/setup")


@nox.session(default=False)
def image(session: nox.Session) -> None:
    """Build the machine's image, `muster-machine`."""
    need_docker(session)
    install(session, "system")
    session.run("python", "-m", "support.system.image", env={"PYTHONPATH": "tests"})


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Combine what the test sessions have measured, and apply the gate."""
    install(session, "test")
    session.run("coverage", "combine", "--keep")
    session.run("coverage", "report")


@nox.session(default=False)
def benchmarks(session: nox.Session) -> None:
    """Measure the queue beside its peers and beside the limit."""
    install(session, "bench")
    session.run("python", "benchmarks/queue.py", *session.posargs)


@nox.session(name="benchmarks-downloads", default=False)
def benchmarks_downloads(session: nox.Session) -> None:
    """Measure fetching and verifying beside ``curl`` and ``sha256sum``."""
    install(session, "test")
    session.run("python", "-P", "benchmarks/downloads.py", *session.posargs)


@nox.session(default=False)
def package(session: nox.Session) -> None:
    """Build the worker package for this Python and processor, and its checksum, into ``dist/``."""
    session.install("--require-hashes", "-r", "requirements/build-package.txt")
    code = Path(session.create_tmp(), "site-packages")
    shutil.rmtree(code, ignore_errors=True)
    pip = ("python", "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(code))
    session.run(*pip, "--require-hashes", "-r", "requirements/package.txt")
    shutil.rmtree(code / "bin", ignore_errors=True)  # scripts that name the Python here
    session.run(*pip, "--no-deps", "--no-build-isolation", *(session.posargs or ["."]))
    shutil.rmtree(code / "bin", ignore_errors=True)
    for note in code.glob("*.dist-info/direct_url.json"):  # where it was built is nobody's business
        note.unlink()
    # Compiled here, for good: workers start at once, and no file changes where it is unpacked.
    session.run(
        "python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash",
        "-s", str(code), str(code),
    )  # fmt: skip
    tag = session.run(
        "python", "-c", "import sys; print(sys.implementation.cache_tag)", silent=True
    )
    python = str(tag).strip().replace("cpython-", "cp")
    target = Path("dist", f"muster-worker-{python}-{sys.platform}-{platform.machine()}.pyz")
    target.parent.mkdir(exist_ok=True)
    session.run(
        "shiv", "--site-packages", str(code), "--entry-point", "muster.cli:main",
        "--reproducible", "--extend-pythonpath", "--output-file", str(target),
    )  # fmt: skip
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    target.with_name(f"{target.name}.sha256").write_text(f"{digest}  {target.name}\n")
    session.run("python", str(target), "--version")
    session.log(f"{target}: {target.stat().st_size:,} bytes, sha256 {digest}")


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Write ``requirements/``; ``nox -s lock -- --upgrade`` takes newer versions."""
    session.install("uv")
    for name, selection in LOCKED.items():
        session.run(
            "uv", "pip", "compile", *selection, "--universal",
            "--generate-hashes", "--no-header", "--no-annotate", "--quiet",
            f"--output-file=requirements/{name}.txt", *session.posargs,
        )  # fmt: skip


def run_unit(session: nox.Session) -> None:
    """Run the unit tests; all of them must pass the coverage gate too."""
    install(session, "test")
    data = run_tests(session, "tests/unit")
    if not session.posargs:
        session.run("coverage", "report", env={"COVERAGE_FILE": data})


def run_tests(session: nox.Session, folder: str) -> str:
    """Run a folder's tests, or those that are named, and return the file with their coverage."""
    data = f".coverage.{session.name}"
    env = {"COVERAGE_FILE": data}
    paths = [word for word in session.posargs if Path(word.partition("::")[0]).exists()]
    arguments = [*SIDE_BY_SIDE, *session.posargs, *([] if paths else [folder])]
    session.run("coverage", "erase", env=env)
    session.run("coverage", "run", "-m", "pytest", *arguments, env=env)
    session.run("coverage", "combine", "--quiet", env=env)
    return data


def run_system(session: nox.Session, folder: str, *options: str) -> None:
    """Run a folder of the system tests, one after the other: they share a fleet."""
    need_docker(session)
    install(session, "system")
    paths = [word for word in session.posargs if Path(word.partition("::")[0]).exists()]
    session.run("pytest", *options, *session.posargs, *([] if paths else [folder]))


def need_docker(session: nox.Session) -> None:
    """Stop at once, before anything is installed, where no Docker engine answers."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    scheme, _, place = address.partition("://")
    if scheme != "unix":
        return  # the tests themselves say whether they reach it
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(place)
        except OSError as error:
            session.error(
                f"{session.name} needs a Docker engine, and none answers at {address} "
                f"({error.strerror}). Install and start one (on Debian: apt-get install "
                "docker.io), or set DOCKER_HOST."
            )


def install(session: nox.Session, name: str) -> None:
    """Install pinned and hashed packages, then the project itself without looking further.

    All is compiled: tests start hundreds of processes, and each would compile it again.
    """
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    compiled = {"UV_COMPILE_BYTECODE": "1"}
    requirements = str(Path("requirements", f"{name}.txt"))
    session.install("--require-hashes", "-r", requirements, env=compiled)
    session.install("--no-deps", "--no-build-isolation", "--editable", ".", env=compiled)
