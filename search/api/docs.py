"""The OpenAPI document as a page, without scripts or files of other servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem;
  color-scheme: light dark }
code, pre { font-family: ui-monospace, monospace; font-size: .9em }
pre { overflow-x: auto; padding: .5rem; border: 1px solid #8888 }
section { border-top: 1px solid #8888; margin-top: 1.5rem }
"""


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
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style>"
        f"<h1>{title}</h1><p>{escape(api['info'].get('description', ''))} "
        "The same for programs: <a href='/openapi.json'>openapi.json</a>.</p>"
        f"{operations}<h2>Shapes</h2>{schemas}</html>"
    )


def _render_operation(method: str, path: str, operation: dict[str, Any]) -> str:
    return (
        f"<section><h3><code>{escape(method.upper())} {escape(path)}</code></h3>"
        f"<p>{escape(operation.get('summary', ''))}. {escape(operation.get('description', ''))}</p>"
        f"<ul>{''.join(_list_details(operation))}</ul></section>"
    )


def _list_details(operation: dict[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        what = escape(parameter.get("description", ""))
        yield f"<li><code>{escape(parameter['name'])}</code> ({parameter['in']}) {what}</li>"
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<li>takes {escape(kind)}{_pre(body.get('schema', {}))}</li>"
    for status, answer in operation.get("responses", {}).items():
        yield f"<li>{escape(status)}: {escape(answer.get('description', ''))}</li>"


def _pre(schema: dict[str, Any]) -> str:
    return f"<pre>{escape(json.dumps(schema, indent=1, ensure_ascii=False))}</pre>"
