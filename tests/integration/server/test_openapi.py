"""The server keeps what its OpenAPI document promises, whatever it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

if TYPE_CHECKING:
    from support.server_process import Server

EXAMPLES = 15
ENDLESS = {"/v1/stream"}  # its answers have an end only for those that leave
BEYOND_SCHEMA = positive_data_acceptance  # which services and cursors there are, no schema says


def test_every_operation_keeps_its_promises(server: Server) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    every = [found.ok() for found in schema.get_all_operations()]
    operations = [operation for operation in every if operation.path not in ENDLESS]

    for operation in operations:

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def keeps_them(case: schemathesis.Case) -> None:
            case.call_and_validate(
                headers={"Authorization": f"Bearer {server.token}"}, excluded_checks=[BEYOND_SCHEMA]
            )

        keeps_them()
    assert len(operations) >= 15
