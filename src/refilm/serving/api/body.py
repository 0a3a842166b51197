"""Bodies of requests: JSON, or forms with files. Does not know what their fields mean."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from fastapi import Request
from starlette.datastructures import UploadFile

from refilm.errors import UserError
from refilm.printable import printable

MOST_FILES, MOST_FIELDS, LONGEST_FIELD = 256, 1000, 1 << 20
DEEPEST = 8
KEY = re.compile(r"[^\[\]]+(?:\[[^\[\]]*\])*")


@dataclass(frozen=True)
class Upload:
    """A file of a form."""

    field: str
    name: str
    """The file's name, which the client chose: it is compared with names, and never becomes a path."""
    content: bytes


@dataclass(frozen=True)
class Body:
    """A request's body."""

    values: dict[str, Any]
    """The fields."""
    uploads: tuple[Upload, ...] = field(default=())


async def read_body(request: Request, schema: Mapping[str, Any]) -> Body:
    """Read JSON, or a form, whose texts are read as the types of a JSON schema.

    Raises:
        UserError: it is neither, or damaged.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        form = await request.form(max_files=MOST_FILES, max_fields=MOST_FIELDS, max_part_size=LONGEST_FIELD)
        items = form.multi_items()
        files = [(name, item) for name, item in items if isinstance(item, UploadFile)]
        uploads = [
            Upload(name.removesuffix("[]"), file.filename or "", await file.read())
            for name, file in files
            if file.filename or file.size  # browsers send an empty file for an empty field
        ]
        await form.close()
        values = nested((name, text) for name, text in items if isinstance(text, str))
        return Body(typed(values, schema, schema.get("$defs", {})), tuple(uploads))
    if kind not in ("application/json", ""):
        raise UserError(f"content type {printable(kind)}: send application/json or multipart/form-data")
    return Body(parsed(await request.body()))


def parsed(body: bytes) -> dict[str, Any]:
    """The table in a JSON text.

    Raises:
        UserError: it is not JSON, or no table.
    """
    try:
        values = json.loads(body, parse_constant=_refuse)
    except RecursionError as error:
        raise UserError("the body is nested too deeply") from error
    except ValueError as error:
        raise UserError(f"the body is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError('the body must be a JSON object with the fields of the request, for instance {"prompt": "..."}')
    return values


def nested(items: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The fields of a form as tables and lists: `a[b]=x` is in a table, `a[]=x` in a list, `a[][b]=x` in a list of
    tables. A repeated field is a list.

    Raises:
        UserError: a name has another form, or a field is given in two of these forms.
    """
    table: dict[str, Any] = {}
    for key, text in items:
        first, *rest = key.replace("]", "").split("[")
        if not KEY.fullmatch(key) or len(rest) > DEEPEST:
            raise UserError(f"{printable(key):.100}: is no name of a field")
        try:
            _place(table, [first, *rest], text)
        except TypeError as error:
            raise UserError(f"{first}: is given in two different forms") from error
    return table


def _place(table: dict[str, Any], path: list[str], text: str) -> None:
    """Put a text into a table. Raises TypeError if another value of the wrong type is there."""
    name, *rest = path
    if not rest:
        if name in table and not isinstance(table[name], str | list):
            raise TypeError
        known = table.get(name, [])
        table[name] = [*([known] if isinstance(known, str) else known), text] if name in table else text
    elif rest[0]:
        _place(_of_type(dict, table.setdefault(name, {})), rest, text)
    elif len(rest) == 1:
        _of_type(list, table.setdefault(name, [])).append(text)
    else:
        entries = _of_type(list, table.setdefault(name, []))
        if not entries or rest[1] in _of_type(dict, entries[-1]):
            entries.append({})
        _place(entries[-1], rest[1:], text)


def _of_type(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


def typed(value: Any, schema: Mapping[str, Any], kinds: Mapping[str, Any]) -> Any:
    """Read texts as the numbers, tables and lists that a JSON schema has in their place; others remain texts.

    Args:
        value: a text, a table or a list of a form.
        schema: the schema of the value.
        kinds: the schemas that references name.
    """
    if "$ref" in schema:
        schema = kinds[schema["$ref"].rpartition("/")[2]]
    choices = schema.get("anyOf", [schema])
    if isinstance(value, str):
        wanted = {choice.get("type", "object" if "$ref" in choice else "string") for choice in choices}
        return value if wanted <= {"string", "null"} else _read(value)
    for choice in choices:
        if isinstance(value, list) and "items" in choice:
            return [typed(item, choice["items"], kinds) for item in value]
        if isinstance(value, dict) and ("properties" in choice or "additionalProperties" in choice or "$ref" in choice):
            choice = kinds[choice["$ref"].rpartition("/")[2]] if "$ref" in choice else choice
            known, others = choice.get("properties", {}), choice.get("additionalProperties")
            other = others if isinstance(others, dict) else {}
            return {name: typed(item, known.get(name, other), kinds) for name, item in value.items()}
    return value


def _read(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
