"""Tokens for some of the indexed folders: nothing of the others shows in any answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from helpers.pictures import identity, jpeg, paint
from helpers.serving import events, files, problem, serving, until
from sqlalchemy import select, update
from test_roles import OWN, bearer, list_routes

from search import Engine, Progress
from search.api.auth import Access
from search.api.jobs import Jobs
from search.catalog.reads import CatalogReader
from search.catalog.schema import pictures
from search.catalog.scoped import CollectionReader
from search.querying.words import split_phrases
from search.records.indexing import IndexReport

OURS, BOTH, THEIRS = range(1, 6), (6,), range(7, 20)
"""Seeds of pictures: of our folder alone, of both folders, of the other folder alone."""
VISIBLE = {identity(seed) for seed in (*OURS, *BOTH)}
HIDDEN = {identity(seed) for seed in THEIRS}
UNSEEN = THEIRS[0]
MAINTENANCE = set(
    "library spaces sequence stamp changed_since iterate_vectors list_damaged_vectors"
    " list_wrong_counts list_unembedded list_outdated list_undescribed list_postponed picture_ids"
    " picture_ids_from searchable_ids iterate_files iterate_file_blocks count_dangling"
    " list_wrong_texts list_roots find_uploads_root list_unfeatured count_features"
    " iterate_features load_features calibration".split()
)
"""Reads of `CatalogReader` that answer no user, or hold nothing of pictures."""
HOOKED = set(
    "describe find_by_labels find_text match_text places resolve_all limit with_hidden shows_hidden"
    " count_listed find_pixel_hash list_identical count_captions mentions list_collections".split()
)
"""Reads that ask `sees` or `limit` themselves."""


@dataclass
class Server:
    """A server whose library has two folders, as the owner and as a user of `ours` see it."""

    client: httpx.Client
    user: dict[str, str]
    owner: dict[str, str]
    engine: Engine
    ours: Path
    theirs: Path

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request as the user. Fail if the answer tells anything of the other folder."""
        answer = self.client.request(method, path, headers=self.user, **more)
        self.check_text(answer.text if "image/" not in answer.headers["content-type"] else "")
        return answer

    def check_text(self, text: str) -> None:
        """Fail if a text has a path, a name or an id of the other folder."""
        for secret in ("theirs", "covert", "zebra", *HIDDEN):
            assert secret not in text
        assert not any(one[:12] in text for one in HIDDEN)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from helpers.libraries import close_library, open_library

    place = tmp_path_factory.mktemp("two")
    ours, theirs = place / "ours", place / "theirs"
    for seed in (*OURS, *BOTH):
        paint(ours / "giraffe" / f"{seed}.jpg", seed)
    for seed in (*THEIRS, *BOTH):
        paint(theirs / "zebra" / f"covert{seed}.jpg", seed)
    engine = open_library(place / "home")
    engine.sync(ours)
    engine.sync(theirs)
    user = bearer(engine.add_token("user", "write", [ours]))
    access = Access(token=OWN, find_token=engine.find_token)
    with serving(engine, access, allow=[place]) as client:
        yield Server(client, user, bearer(OWN), engine, ours, theirs)
    close_library(engine)


Check = Callable[[Server], None]


def check_status(server: Server) -> None:
    status = server.ask("GET", "/api/v1/status").json()
    assert (status["pictures"], status["embedded"], status["files"]) == (6, 6, 6)
    assert [(root["path"], root["files"]) for root in status["roots"]] == [(str(server.ours), 6)]
    assert [space["embedded"] for space in status["spaces"]] == [6]
    assert (status["home"], status["catalog"], status["index"]["generation"]) == ("", None, 0)


def check_pages(server: Server) -> None:
    page = server.ask("GET", "/api/v1/images").json()
    assert (page["total"], page["pages"]) == (6, 1)
    assert {one["id"] for one in page["images"]} == VISIBLE
    for one in page["images"]:
        assert [path.startswith(f"{server.ours}/") for path in one["paths"]] == [True]
    assert server.ask("GET", "/api/v1/images?page=2").json()["images"] == []


def check_picture(server: Server) -> None:
    for seed in (*OURS, *BOTH):
        one = server.ask("GET", f"/api/v1/images/{identity(seed)}").json()
        assert one["paths"] == [one["path"]] == [str(server.ours / "giraffe" / f"{seed}.jpg")]
    unknown = problem(server.ask("GET", f"/api/v1/images/{'0' * 64}"), 404)
    for name in (identity(UNSEEN), identity(UNSEEN)[:8]):
        answer = server.client.get(f"/api/v1/images/{name}", headers=server.user)
        document = problem(answer, 404)
        expected = unknown["detail"].replace("0" * 64, name)
        assert document == unknown | {"detail": expected}  # as if there were no such picture
        assert server.client.get(f"/api/v1/images/{name}", headers=server.owner).is_success


def check_bytes(kind: str) -> Check:
    def check(server: Server) -> None:
        for seed in (OURS[0], BOTH[0]):
            assert server.ask("GET", f"/api/v1/images/{identity(seed)}/{kind}").is_success
        place = f"/api/v1/images/{identity(UNSEEN)}/{kind}"
        problem(server.client.get(place, headers=server.user), 404)
        tag = server.client.get(place, headers=server.owner).headers["etag"]
        cached = server.user | {"If-None-Match": tag}
        problem(server.client.get(place, headers=cached), 404)

    return check


def check_search(server: Server) -> None:
    def search(headers: dict[str, str], k: int) -> list[dict[str, Any]]:
        more: dict[str, Any] = {"files": files(jpeg(UNSEEN)), "data": {"query": f'{{"k": {k}}}'}}
        answer = server.client.post("/api/v1/search", headers=headers, **more)
        hits: list[dict[str, Any]] = answer.json()["hits"]
        return hits

    everything = {hit["id"]: hit for hit in search(server.owner, 100)}
    assert set(everything) == VISIBLE | HIDDEN
    expected = [one for one in everything.values() if one["id"] in VISIBLE]
    for k in (1, 4, 6, 100):  # the nearest pictures are those of the other folder
        hits = search(server.user, k)
        server.check_text(str(hits))
        assert [hit["id"] for hit in hits] == [hit["id"] for hit in expected[:k]]
        assert [hit["score"] for hit in hits] == [hit["score"] for hit in expected[:k]]
        assert all(hit["paths"] == [hit["path"]] for hit in hits)
    for terms in (
        [{"image": f"id:{identity(UNSEEN)}"}],
        [{"image": f"id:{identity(UNSEEN)}", "crop": [0, 0, 20, 20]}],
        [{"image": f"id:{identity(1)}"}, {"image": f"id:{identity(UNSEEN)[:8]}", "weight": -1}],
    ):
        sent = {"terms": terms}
        problem(server.client.post("/api/v1/search", json=sent, headers=server.user), 404)
        assert server.client.post("/api/v1/search", json=sent, headers=server.owner).is_success
    sent = {"terms": [{"image": f"id:{identity(1)}"}], "k": 100}
    hits = server.ask("POST", "/api/v1/search", json=sent).json()["hits"]
    assert {hit["id"] for hit in hits} == VISIBLE and hits[0]["id"] == identity(1)
    sent = {"terms": [{"text": "giraffe"}], "k": 100}  # a word of both, in the names of one
    answer = server.ask("POST", "/api/v1/search", json=sent).json()
    assert {hit["id"] for hit in answer["hits"]} <= VISIBLE


def check_names(server: Server) -> None:
    reader = server.engine.within([str(server.ours)]).library.reader
    whole = server.engine.library.reader
    for word, count in (("zebra", 0), ("theirs", 0), ("covert7", 0), ("giraffe", 6), ("ours", 6)):
        phrases = split_phrases(word)
        assert len(reader.find_text(phrases, 100)) == count
        assert len(whole.find_text(phrases, 100)) == (count or 14 if word != "covert7" else 1)
    for text in ("zebra", "covert"):
        sent = {"terms": [{"text": text}], "k": 100}
        answer = server.client.post("/api/v1/search", json=sent, headers=server.user).json()
        assert {hit["id"] for hit in answer["hits"]} <= VISIBLE
        server.check_text(str(answer["hits"]))
        assert all(not one["names"] for one in answer["understood"])
    space = whole.spaces()[0]
    classes = {label.name for row in range(1, 20) for label in _labels(whole, space, row)}
    assert len(whole.find_by_labels(space, classes, 100, 0.0)) == 19
    assert len(reader.find_by_labels(space, classes, 100, 0.0)) == 6
    assert len(reader.find_by_labels(space, classes, 3, 0.0)) == 3


def _labels(reader: CatalogReader, space: Any, row_id: int) -> tuple[Any, ...]:
    return reader.labels(space, [row_id]).get(row_id, ())


def check_words(server: Server) -> None:
    words = server.ask("GET", "/api/v1/words?prefix=a")
    assert words.json() == server.client.get(words.url, headers=server.owner).json()


def check_suggestions(server: Server) -> None:
    for typed in ("cov", "theirs", "tag:", "tag:z", "folder:z", "folder:", "camera:", "date:"):
        server.ask("GET", f"/api/v1/suggest?q={typed}")
    answer = server.ask("GET", "/api/v1/suggest?q=giraf").json()["suggestions"]
    counted = [one["count"] for one in answer if one["kind"] == "folder"]
    assert all(count <= len(VISIBLE) for count in counted)


def check_job(server: Server) -> None:
    go = threading.Event()

    def run() -> Iterator[Progress]:
        yield Progress("embed", 17, 18, str(server.theirs / "zebra" / "covert.jpg"))
        go.wait(20)
        yield Progress("finish", 0, 0, str(server.theirs), report=IndexReport(pictures=19))

    jobs: Jobs = server.client.app.state.context.jobs  # type: ignore[attr-defined]
    theirs = jobs.start("index", str(server.theirs), str(server.theirs), run)
    variants = jobs.start("variants", f"id:{identity(UNSEEN)}", None, run)
    until(lambda: variants.progress is not None and theirs.progress is not None)
    for job in (theirs, variants):
        place = f"/api/v1/jobs/{job.id}"
        assert server.client.get(place, headers=server.owner).is_success
        for method, path in (("GET", place), ("GET", f"{place}/events"), ("DELETE", place)):
            document = problem(server.ask(method, path), 404)
            assert document["code"] == "job_not_found"
    go.set()
    until(lambda: theirs.over and variants.over)
    assert theirs.state == "done"
    go.clear()
    ours = jobs.start("index", str(server.ours), str(server.ours), run)
    until(lambda: ours.progress is not None)
    assert [job["id"] for job in server.ask("GET", "/api/v1/jobs").json()["jobs"]] == [ours.id]
    shown = server.ask("GET", f"/api/v1/jobs/{ours.id}").json()
    progress = shown["progress"]
    assert (progress["path"], progress["done"], progress["total"]) == (None, 0, 0)
    threading.Timer(0.3, go.set).start()
    server.client.headers.update(server.user)
    received = events(server.client, ours.id)
    server.client.headers.pop("Authorization")
    server.check_text(str(received))
    assert received[-1]["event"] == "done" and received[-1]["data"]["report"] is None


def check_variants(server: Server) -> None:
    sent = {"id": identity(UNSEEN), "n": 1, "steps": 1, "size": 64}
    problem(server.client.post("/api/v1/variants", json=sent, headers=server.user), 404)
    pictures = server.engine.within([str(server.ours)]).library.generator.pictures
    values = np.random.default_rng(0).normal(size=server.engine.library.reader.spaces()[0].dim)
    unlike = (values / np.linalg.norm(values)).astype(np.float32)  # near to no picture
    assert {hit.id for hit in pictures.find_neighbours(unlike)} == VISIBLE
    whole = server.engine.library.generator
    assert len(whole.pictures.find_neighbours(unlike)) == 8
    own = server.ask("POST", "/api/v1/variants", json=sent | {"id": identity(1), "wait": False})
    place = f"/api/v1/jobs/{own.json()['job']}"
    until(lambda: server.ask("GET", place).json()["finished"] is not None, 60)
    job = server.ask("GET", place).json()
    assert job["state"] == "done"
    png = server.ask("GET", job["report"]["variants"][0]["url"])
    assert png.headers["content-type"] == "image/png"
    server.client.delete(place, headers=server.owner)


def check_grant(server: Server) -> None:
    grant = server.ask("GET", "/api/v1/login").json()
    own = {"role": "write", "collections": [str(server.ours)], "has_login": True}
    assert grant == own


def check_facets(server: Server) -> None:
    facets = server.ask("GET", "/api/v1/facets").json()
    assert facets["total"] == 6
    assert sum(one["count"] for one in facets["fields"]["type"]) == 6
    sent = {"ids": [identity(OURS[0]), identity(UNSEEN)]}
    assert server.ask("POST", "/api/v1/facets", json=sent).json()["total"] == 1
    months = server.ask("GET", "/api/v1/months").json()["months"]
    assert sum(one["count"] for one in months) == 6
    for where in ("name=covert*", "folder=zebra", f"path={server.theirs}/*"):
        assert server.ask("GET", "/api/v1/facets", params={"where": where}).json()["total"] == 0


def check_tree(server: Server) -> None:
    (top,) = server.ask("GET", "/api/v1/tree").json()["folders"]
    assert (top["path"], top["count"]) == (str(server.ours), 6)
    for path in (str(server.theirs), str(server.ours.parent)):
        below = server.ask("GET", "/api/v1/tree", params={"path": path}).json()["folders"]
        assert all(one["count"] <= 6 for one in below)


def check_saved_pictures(server: Server) -> None:
    place = "/api/v1/searches/like"
    for headers, data in ((server.owner, jpeg(1)), (server.user, jpeg(2))):
        sent = server.client.put(place, files=files(data), headers=headers)
        assert sent.status_code == 201
    assert server.ask("GET", f"{place}/pictures/0").content == jpeg(2)  # their own
    server.client.delete(place, headers=server.user)
    problem(server.ask("GET", f"{place}/pictures/0"), 404)
    server.client.delete(place, headers=server.owner)


def check_saved_searches(server: Server) -> None:
    place = "/api/v1/searches/all"
    sent = {"where": ["width>0"], "k": 100}
    for headers in (server.owner, server.user):
        answer = server.client.put(place, json=sent, headers=headers)
        assert answer.status_code == 201
    (saved,) = server.ask("GET", "/api/v1/searches").json()["searches"]
    answer = server.ask("GET", f"{place}/hits").json()
    assert {hit["id"] for hit in answer["hits"]} == VISIBLE
    rows = server.engine.library.reader.resolve_all(sorted(VISIBLE))
    assert saved["newest"] <= answer["newest"] <= max(rows.values())
    marked = server.client.post(f"{place}/seen", json={"newest": 1}, headers=server.user)
    assert marked.status_code == 204
    assert server.client.delete(place, headers=server.user).status_code == 204
    problem(server.ask("GET", f"{place}/hits"), 404)
    assert server.client.get(f"{place}/hits", headers=server.owner).is_success  # their own
    server.client.delete(place, headers=server.owner)


def check_sources(server: Server) -> None:
    unseen = f"/api/v1/images/{identity(UNSEEN)}/sources"
    problem(server.client.get(unseen, headers=server.user), 404)
    both = server.ask("GET", f"/api/v1/images/{identity(BOTH[0])}/sources")
    assert str(server.ours) in both.text and str(server.theirs) not in both.text


def check_restored(server: Server) -> None:
    def restore(seed: int) -> httpx.Response:
        sent = {"id": identity(seed)}
        return server.client.post("/api/v1/restored", json=sent, headers=server.user)

    problem(restore(UNSEEN), 404)
    assert restore(OURS[0]).is_success


def check_places(server: Server) -> None:
    def set_place(place: float | None) -> None:
        both = pictures.c.id.in_([identity(OURS[0]), identity(UNSEEN)])
        with server.engine.library.database.write() as c:
            c.execute(update(pictures).where(both).values(latitude=place, longitude=place))

    set_place(10.0)
    request = "/api/v1/places?bounds=-180,-90,180,90&cells=8"
    groups = server.ask("GET", request).json()["groups"]
    assert [(one["id"], one["pictures"]) for one in groups] == [(identity(OURS[0]), 1)]
    set_place(None)


def check_duplicates(server: Server) -> None:
    """Two pictures with the same pixels, one of them in another collection, are no group."""
    both = pictures.c.id.in_([identity(OURS[0]), identity(UNSEEN)])
    with server.engine.library.database.write() as c:
        before = dict(c.execute(select(pictures.c.id, pictures.c.pixel_hash).where(both)).all())
        c.execute(update(pictures).where(both).values(pixel_hash="f" * 64))
    try:
        whole = server.engine.duplicates("exact").to_json()
        assert identity(UNSEEN) in json.dumps(whole)
        for kind in ("exact", "copy", "similar"):
            answer = server.ask("GET", "/api/v1/duplicates", params={"kind": kind})
            assert answer.status_code == 200
            assert identity(UNSEEN) not in answer.text and str(server.theirs) not in answer.text
        exact = server.ask("GET", "/api/v1/duplicates", params={"kind": "exact"}).json()
        assert identity(OURS[0]) not in json.dumps(exact["groups"])
    finally:
        with server.engine.library.database.write() as c:
            for name, pixels in before.items():
                one = pictures.c.id == name
                c.execute(update(pictures).where(one).values(pixel_hash=pixels))


def check_frames(server: Server) -> None:
    listed = server.ask("GET", f"/api/v1/images/{identity(OURS[0])}/frames").json()
    assert listed["frames"] == []
    place = f"/api/v1/images/{identity(UNSEEN)}/frames"
    problem(server.client.get(place, headers=server.user), 404)


def check_text_lines(server: Server) -> None:
    lines = server.ask("GET", f"/api/v1/images/{identity(OURS[0])}/text").json()["lines"]
    assert lines == []
    place = f"/api/v1/images/{identity(UNSEEN)}/text"
    problem(server.client.get(place, headers=server.user), 404)


def check_named_collections(server: Server) -> None:
    """Names of folders that a token does not see are as if there were none."""
    collections = server.engine.collections
    collections.add("Zoo", [server.ours])
    collections.add("covert", [server.theirs])
    try:
        listed = server.ask("GET", "/api/v1/collections").json()["collections"]
        assert [(one["name"], one["folders"], one["pictures"]) for one in listed] == [
            ("Zoo", [str(server.ours)], 6)
        ]
        whole = server.client.get("/api/v1/collections", headers=server.owner).json()
        assert [one["name"] for one in whole["collections"]] == ["Zoo", "covert"]
        (root,) = server.ask("GET", "/api/v1/status").json()["roots"]
        assert root["collection"] == "Zoo"
        for path in ("suggest?q=collection:", "suggest?q=cov", "facets", "tree"):
            server.ask("GET", f"/api/v1/{path}")
        counted = server.ask("GET", "/api/v1/facets").json()["fields"]["collection"]
        assert [(one["value"], one["count"]) for one in counted] == [("Zoo", 6)]
        messages = []
        for name in ("covert", "hidden"):  # one that is not seen is refused as one that is not
            sent = {"where": f"collection={name}"}
            answer = server.client.get("/api/v1/images", params=sent, headers=server.user)
            document = problem(answer, 400)
            assert document["code"] == "condition_value_invalid"
            messages.append(document["detail"].replace(name, ""))
        assert messages[0] == messages[1]
        collections.add("zoo", [server.theirs])
        (zoo,) = server.ask("GET", "/api/v1/collections").json()["collections"]
        assert (zoo["folders"], zoo["files"], zoo["pictures"]) == ([str(server.ours)], 6, 6)
        page = server.ask("GET", "/api/v1/images?where=collection%3Dzoo").json()
        assert {one["id"] for one in page["images"]} == VISIBLE
        place = "/api/v1/collections/Zoo"
        for method, sent in (
            ("PUT", {"folders": [str(server.ours)]}),
            ("PATCH", {"name": "x"}),
            ("DELETE", None),
        ):
            refused = server.client.request(method, place, json=sent, headers=server.user)
            assert problem(refused, 403)["code"] == "role_missing"
    finally:
        collections.remove("Zoo")


def check_share(server: Server) -> None:
    answer = server.client.post("/share", files=files(jpeg(1)), headers=server.user)
    place = answer.headers["location"].replace("/?shared=", "/api/v1/shared/")
    problem(server.client.get(place, headers=server.owner), 404)
    assert server.client.get(place, headers=server.user).content == jpeg(1)


def check_tags(server: Server) -> None:
    owner: dict[str, Any] = {"headers": server.owner}
    ids = [identity(OURS[0]), identity(UNSEEN)]
    change = {"ids": ids, "add_tags": ["sea", "zebra"], "album": "covert album"}
    undo = server.client.post("/api/v1/images/batch", json=change, **owner).json()["undo"]
    server.client.delete(f"/api/v1/images/{ids[0]}/tags/zebra", **owner)
    listed = server.ask("GET", "/api/v1/tags?prefix=se").json()["tags"]
    assert listed == [{"tag": "sea", "count": 1, "origins": {"person": 1}}]
    assert server.ask("GET", "/api/v1/tags?prefix=z").json()["tags"] == []
    for sent in ({"ids": ids[1:], "favourite": True}, {"ids": ids, "add_tags": ["mine"]}):
        answer = server.client.post("/api/v1/images/batch", json=sent, headers=server.user)
        problem(answer, 404)
    place = f"/api/v1/images/{ids[1]}"
    for method, path, more in (
        ("PUT", f"{place}/tags/mine", {}),
        ("DELETE", f"{place}/tags/sea", {}),
        ("PATCH", place, {"json": {"hidden": True}}),
        ("PATCH", "/api/v1/tags/zebra", {"json": {"name": "mine"}}),
    ):
        problem(server.client.request(method, path, headers=server.user, **more), 404)
    assert server.ask("PATCH", "/api/v1/tags/sea", json={"name": "lake"}).json() == {"pictures": 1}
    assert server.client.get(place, **owner).json()["tags"] == ["sea", "zebra"]
    server.client.post("/api/v1/images/batch", json=undo, **owner)
    server.client.delete(f"/api/v1/images/{ids[0]}/tags/lake", **owner)
    server.client.delete("/api/v1/albums/covert album", **owner)


def check_albums(server: Server) -> None:
    owner: dict[str, Any] = {"headers": server.owner}
    ids = [identity(OURS[0]), identity(UNSEEN)]

    def create(name: str, ids: list[str]) -> str:
        answer = server.client.post("/api/v1/albums", json={"name": name, "ids": ids}, **owner)
        return str(answer.json()["id"])

    shared, theirs = create("shared", ids), create("covert", ids[1:])
    empty = create("zebra", [])
    albums = server.ask("GET", "/api/v1/albums").json()["albums"]
    assert albums == [{"id": shared, "name": "shared", "count": 1}]
    page = server.ask("GET", "/api/v1/images?album=shared").json()
    assert [one["id"] for one in page["images"]] == ids[:1] and page["total"] == 1
    for name in (theirs, "covert", empty):
        place = f"/api/v1/albums/{name}"
        problem(server.client.patch(place, json={"name": "x"}, headers=server.user), 404)
        problem(server.client.delete(place, headers=server.user), 404)
    own = server.ask("PATCH", f"/api/v1/albums/{shared}", json={"name": "mine"}).json()
    assert (own["name"], own["count"]) == ("mine", 1) and own["id"] != shared
    listed = server.client.get("/api/v1/albums", **owner).json()["albums"]
    counts = {one["name"]: one["count"] for one in listed}
    assert counts == {"shared": 1, "covert": 1, "mine": 1, "zebra": 0}
    same = {"name": "covert", "ids": ids[:1]}  # as if no album had this name
    twin = server.client.post("/api/v1/albums", json=same, headers=server.user)
    assert twin.status_code == 201
    problem(server.ask("POST", "/api/v1/albums", json={"name": "empty"}), 400)
    sent = {"ids": ids[:1], "album": shared}
    server.client.post("/api/v1/images/batch", json=sent, **owner)
    place = f"/api/v1/albums/{shared}"
    assert server.client.delete(place, headers=server.user).status_code == 204
    listed = server.client.get("/api/v1/albums", **owner).json()["albums"]
    assert {one["id"]: one["count"] for one in listed}[shared] == 1  # theirs is left in it
    for one in listed:
        server.client.delete(f"/api/v1/albums/{one['id']}", **owner)


def check_no_data(path: str) -> Check:
    def check(server: Server) -> None:
        assert server.ask("GET", path).is_success

    return check


def check_preview(server: Server) -> None:
    assert server.ask("POST", "/api/v1/images/preview", files=files(jpeg(1))).is_success


def check_downloads(server: Server) -> None:
    for path in ("download", "csv", "sheet"):
        place, ids = f"/api/v1/images/{path}", [identity(BOTH[0]), identity(UNSEEN)]
        problem(server.client.post(place, json={"ids": ids}, headers=server.user), 404)
        data = server.ask("POST", place, json={"ids": ids[:1]}).content
        assert f"{BOTH[0]}.jpg".encode() in data and b"covert" not in data


CASES: dict[tuple[str, str], Check] = {
    ("GET", "/api/v1/status"): check_status,
    ("GET", "/api/v1/images"): check_pages,
    ("GET", "/api/v1/images/{picture_id}"): check_picture,
    ("GET", "/api/v1/images/{picture_id}/thumbnail"): check_bytes("thumbnail"),
    ("GET", "/api/v1/images/{picture_id}/preview"): check_bytes("preview"),
    ("GET", "/api/v1/images/{picture_id}/file"): check_bytes("file"),
    ("HEAD", "/api/v1/images/{picture_id}/thumbnail"): check_bytes("thumbnail"),
    ("HEAD", "/api/v1/images/{picture_id}/preview"): check_bytes("preview"),
    ("HEAD", "/api/v1/images/{picture_id}/file"): check_bytes("file"),
    ("POST", "/api/v1/images/download"): check_downloads,
    ("POST", "/api/v1/images/csv"): check_downloads,
    ("POST", "/api/v1/images/sheet"): check_downloads,
    ("POST", "/api/v1/images/preview"): check_preview,
    ("POST", "/api/v1/search"): check_search,
    ("GET", "/api/v1/searches"): check_saved_searches,
    ("GET", "/api/v1/searches/{name}/hits"): check_saved_searches,
    ("GET", "/api/v1/searches/{name}/pictures/{number}"): check_saved_pictures,
    ("POST", "/api/v1/searches/{name}/seen"): check_saved_searches,
    ("DELETE", "/api/v1/searches/{name}"): check_saved_searches,
    ("GET", "/api/v1/images/{picture_id}/sources"): check_sources,
    ("POST", "/api/v1/restored"): check_restored,
    ("GET", "/api/v1/collections"): check_named_collections,
    ("GET", "/api/v1/tags"): check_tags,
    ("GET", "/api/v1/albums"): check_albums,
    ("GET", "/api/v1/words"): check_words,
    ("GET", "/api/v1/suggest"): check_suggestions,
    ("GET", "/api/v1/facets"): check_facets,
    ("POST", "/api/v1/facets"): check_facets,
    ("GET", "/api/v1/months"): check_facets,
    ("GET", "/api/v1/tree"): check_tree,
    ("GET", "/api/v1/places"): check_places,
    ("GET", "/api/v1/duplicates"): check_duplicates,
    ("GET", "/api/v1/images/{picture_id}/text"): check_text_lines,
    ("GET", "/api/v1/images/{picture_id}/frames"): check_frames,
    ("POST", "/share"): check_share,
    ("GET", "/api/v1/shared/{name}"): check_share,
    ("GET", "/api/v1/jobs"): check_job,
    ("GET", "/api/v1/jobs/{job_id}"): check_job,
    ("GET", "/api/v1/jobs/{job_id}/events"): check_job,
    ("DELETE", "/api/v1/jobs/{job_id}"): check_job,
    ("GET", "/api/v1/variants"): check_no_data("/api/v1/variants"),
    ("POST", "/api/v1/variants"): check_variants,
    ("GET", "/api/v1/variants/{name}.png"): check_variants,
    ("GET", "/api/v1/login"): check_grant,
    ("GET", "/docs"): check_no_data("/docs"),
}


def test_each_route_for_collections_has_a_case(server: Server) -> None:
    routes = {
        (method, route.path)
        for method, route in list_routes(server.engine)
        if route.needs.within and route.needs.role == "read"
    }
    assert routes == set(CASES)


@pytest.mark.parametrize("check", [*dict.fromkeys(CASES.values()), check_names])
def test_an_answer_has_nothing_of_other_collections(server: Server, check: Check) -> None:
    check(server)


def test_other_routes_refuse_a_token_with_collections(server: Server) -> None:
    for method, path in (("GET", "/metrics"), ("POST", "/api/v1/augment")):
        answer = server.ask(method, path)
        assert problem(answer, 403, "whole library")["code"] == "role_missing"


def test_only_collections_are_indexed(server: Server) -> None:
    secret = server.theirs / "zebra"
    for path in (server.theirs, secret, server.ours.parent, server.ours.parent / "none"):
        answer = server.client.post("/api/v1/index", json={"path": str(path)}, headers=server.user)
        assert problem(answer, 403)["code"] == "folder_not_allowed"
        assert answer.json()["detail"].startswith("path: this folder is not allowed")
    (server.ours / "link").symlink_to(server.theirs)
    problem(server.ask("POST", "/api/v1/index", json={"path": str(server.ours / "link")}), 403)
    (server.ours / "link").unlink()
    sent = {"path": str(server.ours / "giraffe")}
    place = f"/api/v1/jobs/{server.ask('POST', '/api/v1/index', json=sent).json()['job']}"
    until(lambda: server.ask("GET", place).json()["state"] == "done")
    assert server.ask("GET", place).json()["report"] is None
    assert server.engine.status().pictures == 19
    server.client.delete(place, headers=server.owner)


def test_uploads_are_a_collection_of_their_own(server: Server, tmp_path: Path) -> None:
    new = jpeg(50)
    answer = server.ask("POST", "/api/v1/images", files=files(new))
    assert problem(answer, 403)["code"] == "folder_not_allowed"
    assert "/kept" not in answer.text
    engine = server.engine
    engine.keep(new, "covert-name.jpg")
    engine.keep(paint(tmp_path / "other.jpg", 51).read_bytes(), "covert-other.jpg")
    paint(server.ours / "giraffe" / "50.jpg", 50)
    engine.sync(server.ours)
    shown = server.ask("GET", f"/api/v1/images/{identity(50)}").json()
    assert shown["original_name"] is None and len(shown["paths"]) == 1
    problem(server.ask("DELETE", f"/api/v1/images/{identity(50)}"), 403, "file of your own")
    problem(server.ask("DELETE", f"/api/v1/images/{identity(51)}"), 404)
    uploads = bearer(engine.add_token("uploads", "write", [engine.library.uploads_place]))
    page = server.client.get("/api/v1/images", headers=uploads).json()
    assert {one["id"] for one in page["images"]} == {identity(50), identity(51)}
    again = server.client.post("/api/v1/images", files=files(jpeg(1)), headers=uploads)
    assert again.status_code == 201 and len(again.json()["paths"]) == 1  # as if it were new
    deleted = server.client.delete(f"/api/v1/images/{identity(1)}", headers=uploads)
    assert deleted.status_code == 204
    assert engine.picture(identity(1)).paths == (str(server.ours / "giraffe" / "1.jpg"),)
    for seed in (50, 51):
        engine.delete(identity(seed))
    (server.ours / "giraffe" / "50.jpg").unlink()
    engine.sync(server.ours)
    assert engine.status().pictures == 19


def test_only_files_of_collections_are_removed(server: Server, bin_folder: Path) -> None:
    places = "/api/v1/images/remove", "/api/v1/images/restore"
    user: dict[str, Any] = {"headers": server.user}
    sent = {"ids": [identity(BOTH[0]), identity(UNSEEN)]}
    problem(server.client.post(places[0], json=sent, **user), 404)
    sent["ids"].pop()
    removal = server.ask("POST", places[0], json=sent).json()
    assert (removal["removed"], removal["files"]) == (sent["ids"], 1)
    theirs = server.theirs / "zebra" / f"covert{BOTH[0]}.jpg"
    assert server.engine.picture(identity(BOTH[0])).paths == (str(theirs),)
    problem(server.ask("GET", f"/api/v1/images/{identity(BOTH[0])}"), 404)
    other = server.engine.remove([identity(UNSEEN)])
    problem(server.ask("POST", places[1], json={"undo": other.undo}), 404)
    assert len(list(bin_folder.iterdir())) == 2
    server.engine.undo_removal(str(other.undo))
    restored = server.ask("POST", places[1], json={"undo": removal["undo"]}).json()
    assert restored == {"restored": sent["ids"], "failed": []}
    assert server.engine.status().files == 20


def test_a_collection_that_is_forgotten_shows_nothing(server: Server, tmp_path: Path) -> None:
    engine, gone = server.engine, tmp_path / "gone"
    paint(gone / "a.jpg", 60)
    engine.sync(gone)
    headers = bearer(engine.add_token("gone", "read", [gone]))
    assert server.client.get("/api/v1/status", headers=headers).json()["pictures"] == 1
    engine.forget(gone)
    status = server.client.get("/api/v1/status", headers=headers).json()
    assert (status["pictures"], status["files"], status["roots"]) == (0, 0, [])
    answer = server.client.post("/api/v1/search", files=files(jpeg(1)), headers=headers)
    assert answer.json()["hits"] == []


def test_each_read_of_the_catalog_is_limited_or_of_no_user() -> None:
    reads = {name for name in vars(CatalogReader) if not name.startswith("_")}
    limited = {name for name in vars(CollectionReader) if not name.startswith("_")}
    assert limited <= reads and not MAINTENANCE & limited
    assert reads == limited | MAINTENANCE | HOOKED
