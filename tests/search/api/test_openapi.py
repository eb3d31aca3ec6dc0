"""The OpenAPI document: its shapes are those of the answers, and clients can be generated."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.libraries import close_library, open_library
from helpers.project import ROOT, SAMPLES
from helpers.serving import files, serving
from pydantic import TypeAdapter

from search import Engine
from search.api.examples import ANSWERS, REQUESTS
from search.api.schemas import (
    AddressJson,
    AnnotationsJson,
    AugmentJson,
    BatchJson,
    CaptionsJson,
    CollectionFoldersJson,
    DuplicatesRemovalJson,
    FacetsJson,
    FilePathJson,
    FolderOptionsJson,
    FolderPathJson,
    IdsJson,
    IndexJson,
    KeptOptionsJson,
    LoginJson,
    MarksJson,
    NewAlbumJson,
    RemovalJson,
    RenameJson,
    RestoreOptionsJson,
    SeenJson,
    TableJson,
    VariantOptionsJson,
)
from search.querying.query import QueryJson


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    engine: Engine = open_library(tmp_path_factory.mktemp("openapi"))
    engine.sync(SAMPLES / "hat")
    with serving(engine) as client:
        yield client
    close_library(engine)


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    return client.get("/openapi.json").json()


def fits(value: Any, schema: dict[str, Any], shapes: dict[str, Any], at: str = "answer") -> None:
    """Fail unless a value has exactly the fields of a schema, in all its parts."""
    if "$ref" in schema:
        schema = shapes[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema and value is not None:
        schema = next(one for one in schema["anyOf"] if one.get("type") != "null")
        return fits(value, schema, shapes, at)
    if isinstance(value, list):
        each = schema.get("prefixItems") or [schema["items"]] * len(value)
        for i, (one, part) in enumerate(zip(value, each, strict=True)):
            fits(one, part, shapes, f"{at}.{i}")
    elif isinstance(value, dict) and "properties" in schema:
        assert set(value) == set(schema["properties"]) == set(schema["required"]), at
        for name, one in value.items():
            fits(one, schema["properties"][name], shapes, f"{at}.{name}")


def answer_schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    for operations in document["paths"].values():
        for operation in operations.values():
            if operation["operationId"] == name:
                (first, *_) = (s for s in ("200", "201", "202") if s in operation["responses"])
                return operation["responses"][first]["content"]["application/json"]["schema"]
    raise AssertionError(name)


def test_answers_have_the_shapes_of_the_document(
    client: httpx.Client, document: dict[str, Any]
) -> None:
    picture = (SAMPLES / "hat" / "03.jpg").read_bytes()
    text = {"query": json.dumps({"terms": [{"image": 0}, {"text": "hat zyx"}]})}
    name = client.get("/api/v1/images").json()["images"][0]["id"]
    answers = {
        "search_images": client.post("/api/v1/search", files=files(picture), data=text),
        "export_annotations": client.get("/api/v1/annotations"),
        "list_words": client.get("/api/v1/words?prefix=ca"),
        "list_suggestions": client.get("/api/v1/suggest?q=ca"),
        "list_images": client.get("/api/v1/images"),
        "get_image": client.get(f"/api/v1/images/{name}"),
        "get_sources": client.get(f"/api/v1/images/{name}/sources"),
        "get_variant_limits": client.get("/api/v1/variants"),
        "list_jobs": client.get("/api/v1/jobs"),
        "list_collections": client.get("/api/v1/collections"),
        "get_status": client.get("/api/v1/status"),
        "get_health": client.get("/healthz"),
    }
    for operation, response in answers.items():
        assert response.status_code == 200, response.text
        schema = answer_schema(document, operation)
        fits(response.json(), schema, document["components"]["schemas"], operation)
    assert answers["search_images"].json()["understood"]


def test_examples_are_valid(document: dict[str, Any]) -> None:
    for name, answer in ANSWERS.items():
        fits(answer, answer_schema(document, name), document["components"]["schemas"], name)
    requests: dict[str, Any] = {
        "search_images": QueryJson,
        "save_search": QueryJson,
        "rename_saved_search": RenameJson,
        "mark_saved_search": SeenJson,
        "count_facets_of_answer": FacetsJson,
        "add_to_collection": CollectionFoldersJson,
        "rename_collection": RenameJson,
        "keep_image": KeptOptionsJson,
        "preview_image": AddressJson,
        "start_index": IndexJson,
        "allow_folder": FolderPathJson,
        "reveal_file": FilePathJson,
        "change_folder": FolderOptionsJson,
        "create_variants": VariantOptionsJson,
        "restore_picture": RestoreOptionsJson,
        "start_augmentation": AugmentJson,
        "start_captioning": CaptionsJson,
        "log_in": LoginJson,
        "mark_image": MarksJson,
        "import_annotations": AnnotationsJson,
        "change_images": BatchJson,
        "remove_images": IdsJson,
        "download_images": IdsJson,
        "tabulate_images": TableJson,
        "draw_contact_sheet": TableJson,
        "restore_images": RemovalJson,
        "remove_duplicates": DuplicatesRemovalJson,
        "rename_tag": RenameJson,
        "rename_album": RenameJson,
        "create_album": NewAlbumJson,
    }
    assert set(requests) == set(REQUESTS)
    for name, shape in requests.items():
        TypeAdapter(shape).validate_python(REQUESTS[name])


def test_each_operation_has_an_id_of_verb_and_noun_and_an_example(
    document: dict[str, Any],
) -> None:
    names = []
    for operations in document["paths"].values():
        for operation in operations.values():
            names.append(operation["operationId"])
            for content in operation["responses"].values():
                if answer := content.get("content", {}).get("application/json"):
                    assert "example" in answer, operation["operationId"]
            body = operation.get("requestBody", {}).get("content", {})
            assert not body or "example" in body["application/json"], operation["operationId"]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)+", name) for name in names), names


def test_shapes_are_written_once(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    assert text.count("An error, as RFC 9457 defines it.") == 1
    assert text.count("A query as every interface spells it.") == 1
    assert "Not in this version" not in text


def test_access_is_described(document: dict[str, Any]) -> None:
    assert set(document["components"]["securitySchemes"]) == {"token", "cookie"}
    assert {"token": []} in document["security"]
    assert document["paths"]["/healthz"]["get"]["security"] == []


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("openapi-python-client"), reason="scripts/test installs it")
def test_a_python_client_is_generated_without_a_warning(
    document: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    config = (ROOT / "docs" / "api.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "client.yml").write_text(f"{config}post_hooks: []\n")
    command = ["openapi-python-client", "generate", "--path", "openapi.json"]
    done = subprocess.run(
        [*command, "--config", "client.yml", "--output-path", "client", "--fail-on-warning"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "WARNING" not in done.stdout + done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("openapi-typescript"), reason="scripts/test installs it")
def test_types_for_typescript_are_generated_without_a_warning(
    document: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    command = ["openapi-typescript", "openapi.json", "-o", "api.d.ts"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "warn" not in (done.stdout + done.stderr).lower(), done.stderr
    assert "search_images" in (tmp_path / "api.d.ts").read_text()
