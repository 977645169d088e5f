"""CVAT: a serverless (nuclio) tracker, whose state travels with each request.

Source: https://docs.cvat.ai/docs/manual/advanced/serverless-tutorial. docs/adapters.md shows the function.yaml.
"""

from __future__ import annotations

import json
from typing import Any

from metatrack.adapters.stateless import StatelessTracker


def init_context(context: Any) -> None:
    """Nuclio calls this once."""
    context.user_data.tracker = StatelessTracker()


def handler(context: Any, event: Any) -> Any:
    """Nuclio calls this with every request."""
    try:
        body, status = context.user_data.tracker(event.body), 200
    except (ValueError, KeyError, TypeError, OSError) as error:
        body, status = {"error": f"{type(error).__name__}: {error}"}, 400
    return context.Response(body=json.dumps(body), headers={}, content_type="application/json", status_code=status)
