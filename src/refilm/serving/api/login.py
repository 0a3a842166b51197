"""The form that exchanges the token for a cookie, for the page."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from refilm.serving.api.guard import COOKIE, same, session_of
from refilm.serving.api.server import Served

MONTH = 30 * 24 * 3600  # seconds
WRONG = 0.3  # seconds that a wrong token takes
FORM = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>refilm</title>
<style>body { font: 1rem system-ui; margin: 20vh auto; max-width: 20rem; padding: 0 1rem }
input, button { box-sizing: border-box; font: inherit; margin-top: 0.5rem; padding: 0.5rem; width: 100% }</style></head>
<body><main><h1>refilm</h1><form method="post" action="login">
<label for="token">Token of this server</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button></form><p role="alert">MESSAGE</p></main></body></html>
"""
router = APIRouter(include_in_schema=False)


@router.get("/login")
async def show() -> HTMLResponse:
    """The form."""
    return HTMLResponse(FORM.replace("MESSAGE", ""))


@router.post("/login")
async def log_in(request: Request, server: Served) -> Response:
    """Set the cookie if the token is right."""
    form = await request.form(max_files=0, max_fields=2, max_part_size=4096)
    given, token = form.get("token"), server.options.token
    response = RedirectResponse("/", 303)
    if token is None:
        return response
    if not isinstance(given, str) or not same(given, token):
        await asyncio.sleep(WRONG)
        return HTMLResponse(FORM.replace("MESSAGE", "The token is wrong."), 401)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, session_of(token), MONTH, httponly=True, samesite="strict", secure=secure)
    return response
