"""Known holes in dependencies, as PyPI answers."""

from __future__ import annotations

import io
import json
import urllib.request
from typing import Any

import pytest
from tools import audit


def test_a_hole_and_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    listed: dict[str, list[dict[str, Any]]] = {
        "pillow": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fixed_in": ["10.0"], "withdrawn": None}],
        "numpy": [{"id": "PYSEC-2", "aliases": [], "fixed_in": [], "withdrawn": "2020-01-01"}],
    }

    def answer(address: str, timeout: float) -> io.BytesIO:
        name, version = address.split("/")[4:6]
        if name == "rich":
            raise OSError("no network")
        assert "+" not in version
        return io.BytesIO(json.dumps({"vulnerabilities": listed.get(name, [])}).encode())

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    monkeypatch.setattr(audit, "dependencies", lambda: {"numpy": "2.0", "pillow": "9.0", "rich": "1.0", "torch": "2.0+cpu"})
    assert audit.main() == 1
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "numpy 2.0: nothing known",
        "pillow 9.0: PYSEC-1 (CVE-1), mended in 10.0",
        "rich 1.0: not known (no network)",
        "torch 2.0+cpu: nothing known",
    ]


def test_what_the_project_depends_on_is_asked() -> None:
    assert {"numpy", "onnxruntime", "av", "pillow"} <= audit.dependencies().keys()
