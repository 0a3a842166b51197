"""The OpenAPI document, where FastAPI cannot derive it from the code: bodies that are JSON or forms, and errors."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

REF = "#/components/schemas/{model}"
BINARY = {"type": "array", "items": {"type": "string", "format": "binary"}}
KINDS: dict[str, dict[str, Any]] = {}
"""The schemas of bodies by their names."""


def body_of(kind: type[BaseModel], *, files: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The documentation of a body that is JSON, or a form with the same fields and some files.

    Args:
        kind: the fields.
        files: fields of the form that have files, and what these are.
    """
    schema = kind.model_json_schema(ref_template=REF)
    KINDS.update(schema.pop("$defs", {}))
    KINDS[kind.__name__] = schema
    parts = {name: {**BINARY, "description": text} for name, text in (files or {}).items()}
    form = {**schema, "title": f"{kind.__name__}Form", "properties": schema["properties"] | parts}
    KINDS[form["title"]] = form
    content = {"application/json": kind.__name__, "multipart/form-data": form["title"]}
    return {
        "requestBody": {
            "required": True,
            "content": {name: {"schema": {"$ref": REF.format(model=model)}} for name, model in content.items()},
        }
    }


def add_openapi(app: FastAPI, *, token: bool) -> None:
    """Complete the document of an application.

    Args:
        app: the application.
        token: whether requests need one.
    """

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(
                get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes), token
            )
        return app.openapi_schema

    app.openapi = document


def _completed(document: dict[str, Any], token: bool) -> dict[str, Any]:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # which the error handlers replace
        schemas.pop(name, None)
    schemas.update(KINDS)
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            for status, response in operation["responses"].items():
                if status >= "400":  # JSON, whatever the route itself answers with
                    response["content"] = {"application/json": {"schema": {"$ref": REF.format(model="Failure")}}}
    if token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        document["paths"]["/health"]["get"]["security"] = []
    return document
