"""The OpenAPI document as what the page about REST shows. Pure.

Guarantees: everything that the document has is on the page once: each operation with its scope,
arguments, fields and answers, each named schema with its fields. Swagger UI and Redoc would show
it, too, but not under a Content-Security-Policy without inline styles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

VERBS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a schema; `path` leads to it from the schema, as jq writes it."""

    path: str
    type: str
    schema: str  # the name of its schema, if it has one of its own
    required: bool
    text: str


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a path, a query or a header."""

    name: str
    place: str
    type: str
    required: bool
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered; `schema` is the name of its form, or `fields` are its own."""

    status: str
    text: str
    media: tuple[str, ...]
    schema: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path."""

    id: str
    method: str
    path: str
    scope: str  # "": access to the service is enough
    summary: str
    text: str
    arguments: tuple[Argument, ...]
    body: tuple[Field, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """A named form."""

    name: str
    type: str
    text: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """The whole page: operations by what they are about, and schemas by name."""

    text: str
    parts: tuple[tuple[str, tuple[Operation, ...]], ...]
    schemas: tuple[Schema, ...]


def reference(document: Json) -> Reference:
    """Everything that the document has."""
    document = _inlined(document, document)
    parts: dict[str, list[Operation]] = {}
    for path, item in document["paths"].items():
        # what follows /api/v1/, and named servers by themselves: they are as the others
        words = path.split("/")
        part = "users/{user}/servers/{server}" if "servers" in words[4:] else words[3]
        for verb in VERBS:
            if verb in item:
                shared = item.get("parameters", [])
                made = _operation(document, verb, path, shared, item[verb])
                parts.setdefault(part, []).append(made)
    schemas = document["components"]["schemas"]
    return Reference(
        text=document["info"]["description"],
        parts=tuple((name, tuple(operations)) for name, operations in parts.items()),
        schemas=tuple(
            Schema(
                name,
                type_text(schemas[name]),
                schemas[name].get("description", ""),
                tuple(_fields(schemas[name])),
            )
            for name in sorted(schemas)
        ),
    )


def _operation(document: Json, verb: str, path: str, shared: list[Json], found: Json) -> Operation:
    given = [_resolved(document, each) for each in (*shared, *found.get("parameters", []))]
    scopes = found["security"][0]["token"] if "security" in found else []
    body = found.get("requestBody", {}).get("content", {}).get("application/json", {})
    return Operation(
        id=found["operationId"],
        method=verb.upper(),
        path=path,
        scope=scopes[0] if scopes else "",
        summary=found["summary"],
        text=found.get("description", ""),
        arguments=tuple(
            Argument(
                each["name"],
                each["in"],
                type_text(each["schema"]),
                each.get("required", False),
                each.get("description", ""),
            )
            for each in given
        ),
        body=tuple(_fields(body.get("schema", {}))),
        answers=tuple(
            _answer(document, status, each) for status, each in found["responses"].items()
        ),
    )


def _answer(document: Json, status: str, found: Json) -> Answer:
    found = _resolved(document, found)
    content = found.get("content", {})
    schema: Json = next((each["schema"] for each in content.values()), {})
    return Answer(
        status=status,
        text=found["description"],
        media=tuple(content),
        schema=_name(schema),
        fields=() if _name(schema) else tuple(_fields(schema)),
    )


def _fields(schema: Json, path: str = "") -> Iterator[Field]:
    """The fields of an object, those of what is in it after it; a named schema is not entered."""
    inner = _inner(schema)
    if inner is not schema:
        yield from _fields(inner, f"{path}[]" if _is_list(schema) else path)
        return
    required = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        yield Field(
            here, type_text(each), _schema_of(each), name in required, each.get("description", "")
        )
        if not _schema_of(each):
            yield from _fields(each, here)


def _inner(schema: Json) -> Json:
    """What a list has in it, or what a value is unless it is null; itself otherwise."""
    if _is_list(schema):
        inner: Json = schema["items"]
        return {} if _name(inner) else inner
    for each in schema.get("anyOf", ()):
        if each.get("type") != "null":
            return {} if _name(each) else each
    return schema


def _is_list(schema: Json) -> bool:
    kinds = schema.get("type", ())
    return "items" in schema and ("array" in kinds if isinstance(kinds, list) else kinds == "array")


def _schema_of(schema: Json) -> str:
    """The name of the schema of a value, of what a list has, or of what is not null; or ""."""
    if _is_list(schema):
        return _schema_of(schema["items"])
    for each in schema.get("anyOf", ()):
        if each.get("type") != "null":
            return _schema_of(each)
    return _name(schema)


def _name(schema: Json) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def type_text(schema: Json) -> str:
    """A type as people read it: "integer from 1 to 1000", "one of: a, b", "array of string"."""
    if _name(schema):
        return _name(schema)
    if "anyOf" in schema:
        return " or ".join(type_text(each) for each in schema["anyOf"])
    kinds = schema.get("type", "object")
    kinds = list(kinds) if isinstance(kinds, list) else [kinds]
    if "array" in kinds:
        kinds[kinds.index("array")] = f"array of {type_text(schema.get('items', {}))}"
    if "enum" in schema:
        said = "one of: " + ", ".join(_word(each) for each in schema["enum"])
    else:
        said = " or ".join(kinds)
    if "format" in schema:
        said += f" ({schema['format']})"
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        said += f" from {least} to {most}"
    elif least is not None:
        said += f" from {least}"
    if "maxLength" in schema:
        said += f", at most {schema['maxLength']} characters"
    if "default" in schema:
        default = schema["default"]
        shown = ",".join(map(str, default)) if isinstance(default, list) else _word(default)
        said += f", default {shown}"
    return said


def _word(value: object) -> str:
    return "null" if value is None else '""' if value == "" else str(value)


def _inlined(document: Json, value: Any) -> Any:
    """The value, with what references to a part of a schema lead to in their place."""
    if isinstance(value, list):
        return [_inlined(document, each) for each in value]
    if not isinstance(value, dict):
        return value
    places = str(value.get("$ref", "")).split("/")[1:]
    if len(places) > 3:  # components, kind, name: the page has those by their name
        found: Any = document
        for place in places:
            found = found[place]
        return _inlined(document, found)
    return {name: _inlined(document, each) for name, each in value.items()}


def _resolved(document: Json, found: Json) -> Json:
    if "$ref" not in found:
        return found
    kind, name = found["$ref"].split("/")[-2:]
    resolved: Json = document["components"][kind][name]
    return resolved
