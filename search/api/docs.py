"""The OpenAPI document as a page, with a form to try each route, without files of other servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
METHODS = ("get", "post", "put", "patch", "delete")


def render(api: dict[str, Any]) -> str:
    """Render an OpenAPI document as HTML."""
    title = escape(f"{api['info']['title']} {api['info']['version']}")
    operations = "".join(
        _render_operation(method, path, operation)
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "".join(
        f"<section id='{escape(name)}'><h3>{escape(name)}</h3>{_pre(schema)}</section>"
        for name, schema in api.get("components", {}).get("schemas", {}).items()
    )
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>"
        "<meta name='viewport' content='width=device-width'>"
        "<link rel='icon' href='/web/icon.svg' type='image/svg+xml'>"
        "<link rel='stylesheet' href='/web/docs.css'>"
        "<script type='module' src='/web/docs.js'></script>"
        f"<main><h1>{title}</h1><p>{escape(api['info'].get('description', ''))} "
        "The same for programs: <a href='/openapi.json'>openapi.json</a>.</p>"
        f"<h2>Routes</h2>{operations}<h2>Shapes</h2>{schemas}</main></html>"
    )


def _render_operation(method: str, path: str, operation: dict[str, Any]) -> str:
    name = escape(operation.get("operationId", f"{method} {path}"))
    return (
        f"<section id='{name}'><h3><code>{escape(method.upper())} {escape(path)}</code></h3>"
        f"<p>{escape(operation.get('summary', ''))}. {escape(operation.get('description', ''))}</p>"
        f"<ul>{''.join(_list_details(operation))}</ul>{_render_form(method, path, operation)}"
        "</section>"
    )


def _list_details(operation: dict[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        what = escape(parameter.get("description", ""))
        yield f"<li><code>{escape(parameter['name'])}</code> ({parameter['in']}) {what}</li>"
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<li>takes {escape(kind)}{_pre(body.get('schema', {}))}</li>"
    for status, answer in operation.get("responses", {}).items():
        yield f"<li>{escape(status)}: {escape(answer.get('description', ''))}</li>"


def _render_form(method: str, path: str, operation: dict[str, Any]) -> str:
    """The form that sends a request to the route, for `docs.js`."""
    if method not in METHODS:
        return ""
    fields = []
    for parameter in operation.get("parameters", ()):
        name, place = escape(parameter["name"]), escape(parameter["in"])
        example = escape(str(parameter.get("example", "")))
        fields.append(
            f"<label>{name}<input name='{name}' data-in='{place}' value='{example}'></label>"
        )
    content = operation.get("requestBody", {}).get("content", {})
    if "multipart/form-data" in content:
        fields.append("<label>image<input type='file' name='image' multiple></label>")
    if "application/json" in content:
        example = json.dumps(content["application/json"].get("example", {}), ensure_ascii=False)
        fields.append(
            f"<label>JSON<textarea rows='3'>{escape(example, quote=False)}</textarea></label>"
        )
    return (
        f"<details><summary>Try it<span class='of'> {escape(method.upper())} {escape(path)}</span>"
        f"</summary><form data-method='{escape(method.upper())}' data-path='{escape(path)}'>"
        f"{''.join(fields)}<button>Send</button></form>"
        "<div class='answer' role='status'></div></details>"
    )


def _pre(schema: dict[str, Any]) -> str:
    """JSON in a box that scrolls, which the keyboard reaches."""
    text = escape(json.dumps(schema, indent=1, ensure_ascii=False))
    return f"<pre tabindex='0'>{text}</pre>"
