"""The routes as they describe themselves: whatever fits the description is answered without a 5xx, and refused by a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed, settings

from metatrack.web.projects import Studio
from metatrack.web.security import Gate
from metatrack.web.server import UPLOAD, make_app
from metatrack.web.settings import Limits
from tests.web.conftest import HOST, SMALL

ENDLESS = "/api/projects/{project}/events"


def test_no_5xx(tmp_path: Path, clip: Path) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="asks for what the routes' description allows")
    studio = Studio(tmp_path, Limits(**{**vars(SMALL), "cameras": ()}))
    project, app = studio.add_path(clip).id, make_app(studio)
    client = TestClient(Gate(app, studio.store, {HOST}, UPLOAD), base_url=f"http://{HOST}", raise_server_exceptions=False)
    client.cookies.set("metatrack", studio.store.give_key("session", 600))
    for x in (10, 60):
        box = {"x": x, "y": 20, "w": 40, "h": 40}
        assert client.post(f"/api/projects/{project}/targets", json={"frame": 0, "box": box}).status_code == 201
    asked: dict[str, list[int]] = {}

    def ask(case) -> None:
        parameters = dict(case.path_parameters or {})
        if "project" in parameters and case.method != "DELETE":  # one that is there: else nothing behind it would be asked
            parameters["project"] = project
        if "target" in parameters:
            parameters["target"] = 1 + parameters["target"] % 2
        if "frame" in parameters:
            parameters["frame"] %= 30
        body = case.body if isinstance(case.body, (dict, list)) else None
        answer = client.request(case.method, case.path.format(**parameters), json=body, params=case.query)
        asked.setdefault(f"{case.method} {case.path}", []).append(answer.status_code)
        assert answer.status_code < 500, answer.text
        assert answer.status_code < 400 or len(answer.json()["detail"]) > 5

    for result in schemathesis.openapi.from_dict(app.openapi()).get_all_operations():
        operation = result.ok()
        if operation.path != ENDLESS:
            checks = list(HealthCheck)
            limits = settings(max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=checks, database=None)
            seed(7)(limits(given(case=operation.as_strategy())(ask)))()
    studio.close()
    assert len(asked) >= 17
    assert sum(200 in codes or 201 in codes for codes in asked.values()) >= 8, asked
