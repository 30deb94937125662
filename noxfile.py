"""The sessions of the test matrix. ``nox`` alone runs what to run before a push.

Arguments after ``--`` reach pytest: ``nox -s unit -- -k lease -n0``. Tags name what the pipeline
runs when: ``nox -t commit``, ``-t pr``, ``-t nightly``, ``-t weekly``.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import socket
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True

PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))
# One more than cores, since tests also wait; the long ones are not to run last.
SIDE_BY_SIDE = (f"-n{(os.cpu_count() or 1) + 1}", "--dist=worksteal")
# Whole fleets side by side, each process with its own; a file's tests stay together.
FLEETS = {1: 5, 2: 4, 3: 4, 4: 4, 5: 3, 6: 3, 7: 3, 8: 3}
MEASURED_IN_CONTAINERS = ".coverage.system"
COMMIT, PR, NIGHTLY, WEEKLY = "commit", "pr", "nightly", "weekly"
LOCKED = {
    "test": [
        "pyproject.toml",
        "--extra=embedded",
        "--extra=matrix",
        "--group=test",
        "--group=build",
    ],
    "browser": [
        "pyproject.toml",
        "--extra=embedded",
        "--extra=matrix",
        "--group=browser",
        "--group=build",
    ],
    "system": ["pyproject.toml", "--extra=matrix", "--group=system", "--group=build"],
    "prove": [
        "pyproject.toml",
        "--extra=embedded",
        "--extra=matrix",
        "--group=system",
        "--group=browser",
        "--group=build",
    ],
    "image": ["pyproject.toml", "--group=image"],
    "lint": ["--group=lint", "--group=build"],
    "types": [
        "pyproject.toml",
        "--extra=embedded",
        "--extra=matrix",
        "--group=types",
        "--group=system",
        "--group=browser",
        "--group=build",
    ],
    "package": ["pyproject.toml"],
    "build-package": ["--group=package", "--group=build"],
    "bench": ["pyproject.toml", "--extra=embedded", "--group=bench", "--group=build"],
}


@nox.session(tags=[COMMIT, PR])
def lint(session: nox.Session) -> None:
    """Check style, format, the direction of imports, pre-commit's and the pipeline's files."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("pre-commit", "validate-config")
    workflows = sorted(str(path) for path in Path(".github", "workflows").glob("*.yml"))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)


@nox.session(tags=[COMMIT, PR])
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session, "types")
    session.run("mypy", *session.posargs)


@nox.session
def unit(session: nox.Session) -> None:
    """Run the tests without a network; they cover more than 90 % of lines and branches."""
    run_unit(session)


for version in PYTHONS:

    @nox.session(name=f"unit-{version}", python=version, tags=[COMMIT, PR], default=False)
    def unit_on(session: nox.Session) -> None:
        """Run the unit tests on one Python."""
        run_unit(session)


@nox.session(tags=[PR])
def integration(session: nox.Session) -> None:
    """Run the tests with real processes, real HTTP and Redis over TCP."""
    install(session, "test")
    run_tests(session, "tests/integration")


@nox.session(tags=[PR])
def ledger(session: nox.Session) -> None:
    """Check that each failure has its record, its tests and its faults, and that they agree."""
    install(session, "prove")
    session.run("muster", "failures", "check", *session.posargs)


@nox.session(default=False)
def prove(session: nox.Session) -> None:
    """Put the causes of failures back, one at a time, and see the tests catch them."""
    run_proofs(session)


@nox.session(name="prove-changed", tags=[PR], default=False)
def prove_changed(session: nox.Session) -> None:
    """Prove the failures whose record, fault, tests or code this branch changes."""
    run_proofs(session, "--changed", "--tier=unit", "--tier=integration", "--tier=browser")


@nox.session(name="prove-all", tags=[NIGHTLY], default=False)
def prove_all(session: nox.Session) -> None:
    """Prove all failures, by the tests of each tier; needs Docker and Chromium."""
    need_docker(session)
    tiers = ("unit", "integration", "browser", "system", "load")
    run_proofs(session, *(f"--tier={tier}" for tier in tiers))


@nox.session(tags=[PR], default=False)
def browser(session: nox.Session) -> None:
    """Look at the monitor in a real Chromium."""
    install(session, "browser")
    run_tests(session, "tests/browser")


@nox.session(name="web-types", tags=[PR], default=False)
def web_types(session: nox.Session) -> None:
    """Check the types of the monitor's page, with TypeScript's compiler; needs Node."""
    session.run(
        "npm", "exec", "--yes", "--package=typescript@5.8.3", "--",
        "tsc", "--project", "src/muster/server/web", external=True,
    )  # fmt: skip


@nox.session(tags=[WEEKLY], default=False)
def load(session: nox.Session) -> None:
    """Load fleets of up to 250 machines, and compare with the goals."""
    install(session, "test")
    run_pytest(session, "tests/load/load")


@nox.session(tags=[WEEKLY], default=False)
def stress(session: nox.Session) -> None:
    """Push the monitor beyond what it is made for, and compare with the goals."""
    install(session, "browser")
    run_pytest(session, "tests/load/stress")


for count in range(1, 9):

    @nox.session(name=f"system-{count}gpu", tags=["system", NIGHTLY], default=False)
    def system(session: nox.Session, gpus: int = count) -> None:
        """Run whole fleets in containers, with machines of that many GPUs."""
        side_by_side = (f"-n{FLEETS[gpus]}", "--dist=loadfile")
        run_system(session, "tests/system/fleet", *side_by_side, f"--gpus={gpus}")


@nox.session(name="system-scaling", tags=["system", NIGHTLY], default=False)
def system_scaling(session: nox.Session) -> None:
    """Compare machines of 1 and of 8 GPUs, in one run."""
    run_system(session, "tests/system/scaling", "--capture=no")


@nox.session(name="system-coverage", default=False)
def system_coverage(session: nox.Session) -> None:
    """Run whole fleets in containers whose programs measure their coverage; slower than without."""
    folder = Path("results", "coverage").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    Path(MEASURED_IN_CONTAINERS).unlink(missing_ok=True)  # of other sources, perhaps
    measuring = (f"-n{FLEETS[4]}", "--dist=loadfile", "--gpus=4", f"--coverage={folder}")
    run_system(session, "tests/system/fleet", *measuring)
    session.run(
        "python", "-m", "support.system.measured", str(folder), MEASURED_IN_CONTAINERS,
        env={"PYTHONPATH": "tests"},
    )  # fmt: skip


@nox.session(name="system-setup", tags=["system", NIGHTLY], default=False)
def system_setup(session: nox.Session) -> None:
    """Start the compose files as people do; see that no run leaves anything behind."""
    run_system(session, "tests/system/setup")


@nox.session(tags=["system", NIGHTLY], default=False)
def anywhere(session: nox.Session) -> None:
    """Run the tests that fit any fleet: processes here, or what ``-- --env`` names."""
    install(session, "prove")
    run_pytest(session, "tests/system/anywhere")


@nox.session(name="production-like", tags=[WEEKLY], default=False)
def production_like(session: nox.Session) -> None:
    """Break a fleet of 100 machines, sentinels and TLS; test its alerts. Needs promtool."""
    run_system(session, "tests/system/production_like", "--env=production-like")


@nox.session(default=False)
def image(session: nox.Session) -> None:
    """Build the machine's image, `muster-machine`."""
    need_docker(session)
    install(session, "system")
    session.run("python", "-m", "support.system.image", env={"PYTHONPATH": "tests"})


@nox.session(tags=[PR], default=False)
def coverage(session: nox.Session) -> None:
    """Combine what unit, integration and browser measured, and containers; the floor only rises."""
    install(session, "test")
    tiers = {"unit": ["unit", *(f"unit-{version}" for version in PYTHONS)]}
    tiers |= {tier: [tier] for tier in ("integration", "browser")}
    measured = measured_by(session, tiers)
    if Path(MEASURED_IN_CONTAINERS).exists():
        measured.append(MEASURED_IN_CONTAINERS)
    session.run("coverage", "combine", "--keep", "--quiet", *measured)
    Path("results").mkdir(exist_ok=True)
    session.run("coverage", "json", "--fail-under=0", "--quiet", "-o", "results/coverage.json")
    session.run("muster", "results", "coverage", *session.posargs)


@nox.session(default=False)
def report(session: nox.Session) -> None:
    """Write the report of all recorded runs, one page; ``-- --alert`` tells of problems, too."""
    install(session, "test")
    session.run("muster", "results", "report", *session.posargs)


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
    session.run("coverage", "erase", env=env)
    run_pytest(session, folder, *SIDE_BY_SIDE, start=("coverage", "run", "-m", "pytest"), env=env)
    session.run("coverage", "combine", "--quiet", env=env)
    return data


def run_system(session: nox.Session, folder: str, *options: str) -> None:
    """Run a folder of the system tests, on staging unless another environment is named."""
    need_docker(session)
    install(session, "system")
    environment = os.environ.get("MUSTER_ENV") or "staging"
    run_pytest(session, folder, *options, env={"MUSTER_ENV": environment})


def run_pytest(
    session: nox.Session,
    folder: str,
    *options: str,
    start: tuple[str, ...] = ("pytest",),
    env: dict[str, str] | None = None,
) -> None:
    """Run a folder's tests, or those of its tier that posargs name, and record the run."""
    tier = f"--tier={Path(folder).parts[1]}"  # which posargs cannot widen
    named = [word for word in session.posargs if Path(word.partition("::")[0]).exists()]
    record = (f"--record={session.name}", *(["--record-part"] if named else []))
    rest = (*session.posargs, *([] if named else [folder]))
    # The tests of the matrix ask Nox about its sessions, and it is not in this environment.
    itself = {"MUSTER_NOX": shlex.join([sys.executable, "-m", "nox"])}
    session.run(*start, tier, *options, *record, *rest, env={**itself, **(env or {})})


def run_proofs(session: nox.Session, *options: str) -> None:
    """Run the prover."""
    install(session, "prove")
    session.run("python", "-m", "muster.matrix.proofs", *options, *session.posargs)


def measured_by(session: nox.Session, tiers: dict[str, list[str]]) -> list[str]:
    """Return the files that the sessions of each tier left; stop if one was not measured."""
    there = {
        tier: [file for file in (f".coverage.{name}" for name in names) if Path(file).exists()]
        for tier, names in tiers.items()
    }
    missing = [tier for tier, files in there.items() if not files]
    if missing:
        session.error(
            f"Nothing was measured by {', '.join(missing)}. "
            f"Run `nox -s {' '.join(missing)}` first, whole."
        )
    return [file for files in there.values() for file in files]


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
