"""`/docs`: the OpenAPI document for people, from files of this machine alone.

The user interface is Swagger UI, as the package fastapi-offline carries it; the page around it is
ours, because scripts in a page would need a weaker policy than files do.
"""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import HTMLResponse, RedirectResponse, Response

OPENAPI_PATH = "/openapi.json"
_PACKAGE = "fastapi_offline"
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
# Swagger UI sets styles of elements and has pictures as data: URLs.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>potnode API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<noscript>This page needs JavaScript: see <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# validatorUrl: without it the page would show the document to a server of Swagger's.
_START = f"""\
SwaggerUIBundle({{
  url: "{OPENAPI_PATH.removeprefix("/")}",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
}});
"""


def routes() -> APIRouter:
    """`/`, `/docs` and what the page loads."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def root() -> Response:
        return RedirectResponse("docs", status_code=307)

    @router.get("/docs")
    async def page() -> Response:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})

    @router.get("/docs/start.js")
    async def start() -> Response:
        return Response(_START, media_type="text/javascript")

    for name, media_type in _ASSETS.items():
        _add_asset(router, name, media_type)
    return router


def _add_asset(router: APIRouter, name: str, media_type: str) -> None:
    """A file of the package; it changes only with the package."""
    file = files(_PACKAGE).joinpath("static", name)

    @router.get(f"/docs/{name}")
    def asset() -> Response:
        return Response(
            file.read_bytes(), media_type=media_type, headers={"Cache-Control": "max-age=3600"}
        )
