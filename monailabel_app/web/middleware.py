"""What each request passes before it reaches a route, from the outside in."""

from __future__ import annotations

from fastapi import FastAPI
from monailabel.config import settings
from starlette.middleware import Middleware

from monailabel_app.addresses import read_origins
from monailabel_app.audit import AuditLog
from monailabel_app.config import AppConfig
from monailabel_app.web.bodies import GIB, BodyLimit, bound_forms
from monailabel_app.web.connections import bound_connections
from monailabel_app.web.gate import install_gate
from monailabel_app.web.guard import Guard, own_names
from monailabel_app.web.login import Authenticate


def install_middleware(
    web: FastAPI, config: AppConfig, authenticate: Authenticate | None, audit: AuditLog
) -> None:
    """Replace the middleware of MONAI Label's running web server, which admits every page.

    Args:
        authenticate: see `Gate`, which comes before bodies are read; as `audit`.
    """
    bound_forms()
    bound_connections()
    upstream = map(str, settings.MONAI_LABEL_CORS_ORIGINS)  # as MONAI Label's users list them
    web.user_middleware = [
        Middleware(
            Guard, own_names() | config.hosts, config.origins | read_origins(",".join(upstream))
        ),
        Middleware(BodyLimit, int(config.max_upload_gb * GIB)),
    ]
    install_gate(web, authenticate, audit)
