"""Reads the services of a compose file, as far as our own compose files go.

So the harness starts what people start, with its hardening, and cannot drift from it. A key that it
does not know is an error: nothing of a definition is left out in silence.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Who waits for whom, what is started again, and where people find it, is for compose alone: a test
# waits for what it needs, wants to see a crash, and publishes ports that are free.
_FOR_COMPOSE = frozenset({"depends_on", "restart", "ports", "profiles"})
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
_UNITS_S = {"s": 1, "m": 60, "h": 3600}


class NotUnderstood(Exception):
    """A compose file says something that this reader does not know."""


@dataclass(frozen=True)
class Service:
    """One service, in the words of the engine's API where they differ from compose's."""

    name: str
    image: str
    command: list[str]
    entrypoint: list[str] | None
    environment: dict[str, str]
    networks: list[str]
    volumes: list[str]
    healthcheck: dict[str, Any] | None = None
    stop_grace_s: int = 10
    options: dict[str, Any] = field(default_factory=dict)
    """What goes into the engine's host configuration, and ``user``."""


def read_services(file: Path, variables: Mapping[str, str]) -> dict[str, Service]:
    """Return the services of a compose file, with these variables in place of ``${…}``."""
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {
        name: _service(name, _filled(definition, variables))
        for name, definition in document["services"].items()
    }


def internal_networks(file: Path) -> set[str]:
    """Return the names of the networks from which nothing outside is reached."""
    networks = yaml.safe_load(file.read_text(encoding="utf-8"))["networks"]
    return {name for name, options in networks.items() if options.get("internal")}


def _service(name: str, definition: dict[str, Any]) -> Service:
    given = {key: value for key, value in definition.items() if key not in _FOR_COMPOSE}
    tmpfs = dict.fromkeys(given.pop("tmpfs", []), "")
    service = Service(
        name=name,
        image=given.pop("image"),
        command=_argv(given.pop("command")),
        entrypoint=given.pop("entrypoint", None),
        # One without a value is taken from the shell; a test sets what it wants itself.
        environment={
            key: str(value)
            for key, value in given.pop("environment", {}).items()
            if value is not None
        },
        networks=given.pop("networks"),
        volumes=given.pop("volumes", []),
        healthcheck=_healthcheck(given.pop("healthcheck", None)),
        stop_grace_s=_seconds(given.pop("stop_grace_period", "10s")),
        options={
            "user": given.pop("user", None),
            "init": given.pop("init", False),
            "read_only": given.pop("read_only", False),
            "cap_drop": given.pop("cap_drop", []),
            "security_opt": given.pop("security_opt", []),
            "pids_limit": given.pop("pids_limit", None),
            "tmpfs": tmpfs,
        },
    )
    if given:
        raise NotUnderstood(f"{name}: {', '.join(given)}. Teach them to {__file__}.")
    return service


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, variables) for each in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _value(found, variables), value)
    return value


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    name, how, default = found.groups()
    if variables.get(name):
        return variables[name]
    if how == "-":
        return str(default)
    raise NotUnderstood(f"${{{name}}} is not set: {default or 'it has no default'}")


def _argv(command: str | list[str]) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else [str(word) for word in command]


def _healthcheck(definition: dict[str, Any] | None) -> dict[str, Any] | None:
    if definition is None:
        return None
    spans = {key: value for key, value in definition.items() if key not in {"test", "retries"}}
    return {
        "test": definition["test"],
        "retries": definition.get("retries", 3),
        **{key: _seconds(value) * 10**9 for key, value in spans.items()},
    }


def _seconds(span: str) -> int:
    return int(span[:-1]) * _UNITS_S[span[-1]]
