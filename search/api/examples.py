"""Examples of requests and answers, which OpenAPI shows at each route, by its operation id."""

from __future__ import annotations

from typing import Any

ID = "9510f9aa1fd0c1c3d3b0a5f3f2f0f6f7c5d6f3d1a6e1b8a4c0d7e2f9b3a4c5d6"
JOB = "3f2a9c1d5e7b8046"
ALBUM = "4be1c07a9d25f386"
REMOVAL = "0d4f6b2a8c1e3957a6b8d0c2e4f60718"
LOGIN_PATH = "/?login=tYh2eK0sWnVb4mXqLr8cJd5uZa1fGo7P"
VARIANT = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
FILES = {"path": "/home/ada/Pictures/hat.jpg", "paths": ["/home/ada/Pictures/hat.jpg"]}
SIZE = {"width": 400, "height": 534}
IMAGE = {
    "id": ID,
    **FILES,
    "type": "jpeg",
    **SIZE,
    "bytes": 48213,
    "taken": "2024-05-17T14:03:22",
    "camera": "Canon EOS R5",
    "latitude": 38.7223,
    "longitude": -9.1393,
    "palette": ["#e8e4df", "#2b2a29"],
    "palette_shares": [0.71, 0.29],
    "exif": {"ISOSpeedRatings": 200},
    "truncated": False,
    "tags": ["summer"],
    "tag_origins": {"summer": "person"},
    "favourite": True,
    "rating": 4,
    "rating_origin": "file",
    "hidden": False,
    "caption": "A hat on the beach",
    "caption_origin": "file",
    "albums": [{"id": ALBUM, "name": "Lisbon"}],
    "labels": [{"name": "hat", "score": 0.91}],
    "low_content": False,
    "original_name": None,
    "source_url": None,
    "page": None,
    "has_text": True,
    "time": None,
}
ANNOTATIONS = {
    "version": 1,
    "pictures": [
        {
            "id": ID,
            "paths": FILES["paths"],
            "tags": ["summer"],
            "favourite": True,
            "rating": 4,
            "hidden": False,
            "caption": None,
            "albums": [{"id": ALBUM, "name": "Lisbon"}],
        }
    ],
}
LINE = {
    "text": "Summer sale",
    "confidence": 0.98,
    "box": [[0.1, 0.05], [0.6, 0.05], [0.6, 0.12], [0.1, 0.12]],
}
FACETS = {
    "total": 12,
    "fields": {"type": [{"value": "jpeg", "count": 12, "where": "type=jpeg"}]},
}
ROOT = {
    "path": "/home/ada/Pictures",
    "state": "online",
    "files": 112,
    "left_out": {"raw": 3},
    "exclude": ["*.tmp"],
    "sync_hours": None,
    "watched": True,
    "collection": "Family",
}
COLLECTION = {"name": "Family", "folders": [ROOT["path"]], "files": 112, "pictures": 110}
PROGRESS = {"phase": "index", "done": 64, "total": 110, "path": FILES["path"], "pictures": []}
RUNNING_JOB = {
    "id": JOB,
    "kind": "index",
    "path": "/home/ada/Pictures",
    "state": "running",
    "created": 1764250000.0,
    "finished": None,
    "progress": PROGRESS,
    "report": None,
    "error": None,
    "code": None,
}
HIT = {
    "id": ID,
    **FILES,
    "score": 0.71,
    "kind": "copy",
    "probability": 0.98,
    **SIZE,
    "tags": ["summer"],
    "source": None,
    "time": None,
    "low_content": False,
    "favourite": True,
    "copies": [],
    "evidence": {
        "verdict": "edited",
        "inliers": 148,
        "matches": 152,
        "agreement": 0.943,
        "query_overlap": 1.0,
        "hit_overlap": 0.2508,
        "query_outline": [[-0.3995, -0.6012], [1.6011, -0.6009], [1.6003, 1.4], [-0.401, 1.3996]],
        "hit_outline": [[0.2, 0.3001], [0.6999, 0.3003], [0.7001, 0.8], [0.2002, 0.8001]],
        "mirrored": False,
        "color_distance": 1.27,
        "cosine": 0.71,
        "term": 0,
    },
}
OTHER = "7c1f0e9d8b7a695847362514f0e1d2c3b4a5968778695a4b3c2d1e0f9a8b7c6d"
DUPLICATE: dict[str, Any] = {
    "id": ID,
    "path": FILES["path"],
    "files": [{"id": ID, "path": FILES["path"]}],
    "type": "jpeg",
    **SIZE,
    "bytes": 48213,
    "taken": None,
    "camera": None,
    "tags": ["summer"],
    "favourite": False,
    "rating": None,
    "marks": [],
    "companions": [],
}
LARGE: dict[str, Any] = {
    "id": OTHER,
    "path": "/home/ada/Pictures/2024/hat.jpg",
    "files": [{"id": OTHER, "path": "/home/ada/Pictures/2024/hat.jpg"}],
    "width": 1600,
    "height": 2136,
    "bytes": 812345,
}
LISBON = {"id": ALBUM, "name": "Lisbon", "count": 12}
CREATED_VARIANT = {
    "id": VARIANT,
    "url": f"/api/v1/variants/{VARIANT}.png",
    "seed": 0,
    "sigma": 2.0,
    "similarity": 0.87,
    "accepted": True,
    "source": None,
}

SAVED = {
    "name": "hats",
    "query": {"terms": [{"image": 0, "weight": 1.0}], "k": 5, "min_score": 0.8},
    "created": 1714550400.0,
    "seen": 1714550400.0,
    "newest": 5102,
}

ANSWERS: dict[str, Any] = {
    "search_images": {
        "query": {"terms": [{"image": 0, "weight": 1.0}], "k": 5, "min_score": None},
        "model": "mini",
        "took_ms": {"decode": 9.1, "embed": 14.2, "search": 1.3, "verify": 0.0, "total": 24.6},
        "understood": [],
        "low_content": False,
        "pages": [],
        "alike": None,
        "hits": [HIT],
    },
    "list_saved_searches": {"searches": [SAVED]},
    "save_search": SAVED,
    "run_saved_search": {
        "query": SAVED["query"],
        "model": "mini",
        "took_ms": {"decode": 9.1, "embed": 14.2, "search": 1.3, "verify": 0.0, "total": 24.6},
        "understood": [],
        "low_content": False,
        "pages": [],
        "alike": None,
        "hits": [HIT],
        "newest": 5217,
    },
    "list_words": {
        "model": "mini",
        "words": [{"word": "cat", "also": ["kitten"], "precision": 0.9}],
        "total": 443,
        "any_words": False,
    },
    "list_suggestions": {
        "suggestions": [{"kind": "tag", "text": "beach", "insert": "tag:beach", "count": 3}]
    },
    "get_grant": {"role": "read", "collections": ["/home/ana/Pictures"], "has_login": True},
    "create_link": {
        "path": LOGIN_PATH,
        "urls": [f"http://192.168.1.20:8000{LOGIN_PATH}"],
        "qr": "<svg xmlns='http://www.w3.org/2000/svg'></svg>",
    },
    "get_desktop": {"shows_files": True},
    "keep_image": IMAGE,
    "get_image": IMAGE,
    "get_sources": {
        "id": ID,
        "paths": ["https://hats.example/img/1.jpg"],
        "pages": [{"page": "https://hats.example/", "title": "Hats", "text": "A hat on the beach"}],
        "downloads": [
            {
                "path": "/home/ada/Downloads/1.jpg",
                "url": "https://hats.example/img/1.jpg",
                "referrer": "https://hats.example/",
                "by": "user.xdg.origin.url",
            }
        ],
        "credits": [{"name": "creator", "value": "Ada Lovelace", "by": "file"}],
        "content_credentials": {
            "generator": "Camera 1.0",
            "title": "1.jpg",
            "format": "image/jpeg",
            "actions": ["c2pa.created"],
            "verified": False,
        },
        "source_url": None,
        "original_name": None,
        "camera": "Canon EOS R5",
        "public_url": "https://hats.example/img/1.jpg",
        "engines": [
            {
                "name": "TinEye",
                "url": "https://tineye.com/search?url=https%3A%2F%2Fhats.example%2Fimg%2F1.jpg",
            }
        ],
        "hint": None,
        "problem": None,
    },
    "add_tag": IMAGE,
    "remove_tag": IMAGE,
    "mark_image": IMAGE,
    "change_images": {
        "changed": 1,
        "undo": {"changes": [{"ids": [ID], "remove_tags": ["beach"], "rating": None}]},
    },
    "remove_images": {"removed": [ID], "files": 1, "failed": [], "undo": REMOVAL},
    "restore_images": {"restored": [ID], "failed": []},
    "list_duplicates": {
        "page": 1,
        "pages": 1,
        "total": 1,
        "bytes": 48213,
        "model": "mini",
        "keep": ["largest", "metadata", "oldest"],
        "groups": [
            {
                "id": "5d0c8f1e2b7a4936",
                "kind": "copy",
                "score": 0.98,
                "bytes": 48213,
                "pictures": [
                    {**DUPLICATE, **LARGE, "action": "keep", "score": 1.0},
                    {**DUPLICATE, "action": "remove", "score": 0.98},
                ],
            }
        ],
    },
    "remove_duplicates": {"removed": [ID], "files": 1, "failed": [], "undo": REMOVAL},
    "export_annotations": ANNOTATIONS,
    "import_annotations": {"pictures": 1, "unknown": ["/home/ada/Pictures/gone.jpg"]},
    "list_tags": {"tags": [{"tag": "beach", "count": 3, "origins": {"person": 2, "file": 1}}]},
    "rename_tag": {"pictures": 3},
    "list_albums": {"albums": [LISBON]},
    "create_album": LISBON,
    "rename_album": LISBON,
    "list_images": {"page": 1, "pages": 1, "total": 1, "next": None, "images": [IMAGE]},
    "count_facets": FACETS,
    "count_facets_of_answer": FACETS,
    "count_months": {"months": [{"month": "2024-05", "count": 12}, {"month": None, "count": 3}]},
    "count_places": {
        "groups": [
            {
                "latitude": 48.86,
                "longitude": 2.35,
                "west": 2.29,
                "south": 48.85,
                "east": 2.4,
                "north": 48.87,
                "pictures": 12,
                "id": ID,
            }
        ]
    },
    "count_folders": {
        "folders": [{"path": "/home/ada/Pictures/holiday", "count": 12, "folders": False}]
    },
    "list_frames": {
        "path": "/home/ada/Films/harbour.mkv",
        "duration": 5321.4,
        "frames": [{"id": ID, "time": 0.0}, {"id": OTHER, "time": 3.68}],
    },
    "get_text": {"id": ID, "lines": [LINE], "model": "0123456789abcdef", "failed": None},
    "start_reading": {"job": JOB},
    "get_captions": {
        "captioned": 12,
        "by_model": 41,
        "without": 232,
        "models": [
            {
                "name": "coca_ViT-B-32:mscoco_finetuned_laion2b_s13b_b90k",
                "installed": True,
                "default": True,
            }
        ],
    },
    "start_captioning": {"job": JOB},
    "start_index": {"job": JOB},
    "start_augmentation": {"job": JOB},
    "list_folders": {
        "path": "/home/ada/Pictures",
        "parent": "/home/ada",
        "pictures": 12,
        "folders": [
            {
                "name": "2024",
                "path": "/home/ada/Pictures/2024",
                "pictures": 100,
                "has_more": False,
                "is_hidden": False,
                "is_left_out": False,
                "is_indexed": True,
            }
        ],
        "has_more": False,
    },
    "allow_folder": {"path": "/mnt/photos"},
    "list_left_out": {
        "skipped": [
            {
                "path": "/home/ada/Pictures/cut.jpg",
                "reason": "the file is not a picture, or a damaged one",
                "code": "not_a_picture",
            }
        ],
        "left_out": [{"path": "/home/ada/Pictures/party.mp4", "kind": "film"}],
        "has_more": False,
    },
    "list_collections": {"collections": [COLLECTION]},
    "add_to_collection": COLLECTION,
    "rename_collection": COLLECTION,
    "list_jobs": {"jobs": [RUNNING_JOB]},
    "get_job": RUNNING_JOB,
    "cancel_job": {**RUNNING_JOB, "state": "cancelled", "finished": 1764250060.0},
    "get_variant_limits": {
        "n": 64,
        "sigma": [0.0, 80.0],
        "regimes": {"near": 0.7, "same": 2.0, "concept": 80.0},
        "generators": [{"name": "lookalike", "license": "apache-2.0", "native_size": 128}],
    },
    "create_variants": {"variants": [CREATED_VARIANT], "seconds": 4.2},
    "restore_picture": {
        "restored": {
            "noise": 52.3,
            "blur": 0.13,
            "light": 231.0,
            "short": 384,
            "jpeg": 1.004,
            "gain": 1.0,
            "applied": ["denoise"],
        },
        "png": None,
        "width": 512,
        "height": 384,
        "paints": True,
    },
    "get_status": {
        "home": "/home/ada/.local/share/lookalike",
        "model": "mini",
        "fingerprint": "0123456789abcdef",
        "pictures": 110,
        "embedded": 110,
        "files": 112,
        "roots": [ROOT],
        "index": {"kind": "flat", "generation": 3},
        "version": "0.1.0",
        "left_out": {"raw": 3},
        "spaces": [{"name": "mini", "fingerprint": "0123456789abcdef", "embedded": 110}],
        "catalog": None,
        "backend": "torch",
        "texts": {
            "enabled": True,
            "installed": True,
            "install": None,
            "read": 100,
            "with_text": 12,
            "failed": 0,
            "pending": 10,
        },
        "inbox": {"path": "/home/ada/Inbox", "state": "online", "done": 3, "failed": []},
    },
    "get_health": {"status": "ok"},
    "get_readiness": {"status": "ready"},
}
"""Of the JSON that a route answers with when all is well."""

URL = {"url": "https://example.org/hat.jpg"}
REQUESTS: dict[str, Any] = {
    "count_facets_of_answer": {"ids": [ID], "where": ["type=jpeg"], "fields": ["type"]},
    "search_images": {
        "terms": [{"image": f"id:{ID[:12]}"}, {"text": "red"}],
        "where": ["type=jpeg and width>=1000"],
        "k": 5,
    },
    "save_search": {"terms": [{"image": f"id:{ID[:12]}"}], "min_score": 0.8},
    "rename_saved_search": {"name": "old hats"},
    "mark_saved_search": {"newest": 5217},
    "keep_image": {**URL, "source": "https://example.org/hats.html"},
    "preview_image": URL,
    "mark_image": {"favourite": True, "rating": 4},
    "import_annotations": ANNOTATIONS,
    "change_images": {"ids": [ID], "add_tags": ["beach"], "rating": 4},
    "remove_images": {"ids": [ID]},
    "download_images": {"ids": [ID]},
    "tabulate_images": {"ids": [ID], "scores": [0.93]},
    "draw_contact_sheet": {"ids": [ID], "scores": [0.93]},
    "restore_images": {"undo": REMOVAL},
    "remove_duplicates": {
        "groups": [{"keep": LARGE["files"][0], "remove": [DUPLICATE["files"][0]]}]
    },
    "rename_tag": {"name": "Lisbon"},
    "create_album": {"name": "Lisbon", "ids": [ID]},
    "rename_album": {"name": "Lisbon 2024"},
    "add_to_collection": {"folders": ["/home/ada/Pictures"]},
    "rename_collection": {"name": "Family"},
    "start_index": {"path": "~/Pictures"},
    "allow_folder": {"path": "/mnt/photos"},
    "reveal_file": {"path": "/home/ada/Pictures/drawing.psd"},
    "change_folder": {"path": "/home/ada/Pictures", "sync_hours": 24},
    "create_variants": {**URL, "n": 4, "regime": "near", "seed": 7},
    "restore_picture": {**URL, "estimate": True},
    "start_augmentation": {"path": "~/Pictures", "output": "~/set", "n": 4},
    "start_captioning": {"where": ["date>=2024"]},
    "log_in": {"token": "the token of the server"},
}
"""Of the JSON that a route takes."""

PARAMETERS = {
    "picture_id": ID[:12],
    "tag": "beach",
    "album": ALBUM,
    "collection": "Family",
    "job_id": JOB,
    "name": VARIANT,
    "prefix": "ca",
    "path": "/home/ada/Pictures",
}


def add_examples(operation: dict[str, Any]) -> None:
    """Add the examples of a route to its OpenAPI operation."""
    name = operation["operationId"]
    if name in REQUESTS:
        operation["requestBody"]["content"]["application/json"]["example"] = REQUESTS[name]
    for status in ("200", "201", "202"):
        answer = operation["responses"].get(status, {}).get("content", {}).get("application/json")
        if answer is not None and name in ANSWERS:
            started = {"$ref": "#/components/schemas/StartedJson"} == answer.get("schema")
            answer["example"] = {"job": JOB} if started else ANSWERS[name]
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in PARAMETERS:
            parameter["example"] = PARAMETERS[parameter["name"]]
