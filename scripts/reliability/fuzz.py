"""Send broken pictures, queries and requests, and check that none is a crash.

scripts/fuzz [CLASS...] [--tries N] [--seed S]

`mutants` are pictures of every format that is read, with bytes that were changed, deleted, inserted
or moved, or cut off; each goes through the decoding processes. It becomes a picture, or a failure
with a reason, in time, and costs no decoding process. `query` and `crop` are JSON and texts near to
valid ones: each is parsed or refused with an error of the library, and what was parsed gives the
same again from its own JSON. `requests` come from our own OpenAPI document, made by schemathesis,
to a server with a small library: no answer is a server error but 503, and each has a shape of the
document. A class prints one line; a seed repeats a try. Exit status 1 if one failed.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tries import ROOT, parse_arguments, run_tries  # first: it makes the helpers importable

# isort: split
from helpers.libraries import close_library, open_library
from helpers.serving import serving
from mutants import SEEDS, mutate

from search.errors import LookalikeError
from search.media.decoder_pool import DecodedPicture, DecodeRequest, DecoderPool
from search.media.preprocessing import Preprocessing
from search.media.rules import Limits
from search.querying.query import Query, parse_crop

CLASSES = {"mutants": 10_000, "query": 5000, "crop": 5000, "requests": 100}
SCHEMATHESIS = """
[checks]
enabled = false
not_a_server_error = { enabled = true, expected-statuses = ["2xx", "3xx", "4xx", 503] }
content_type_conformance.enabled = true
response_schema_conformance.enabled = true

[[operations]]  # its schema is that of the whole stream, not of an event
include-path = "/api/v1/jobs/{job_id}/events"
checks.response_schema_conformance.enabled = false
"""
LIMITS = Limits(pixels=2**22, seconds=20.0)
SLACK = 10.0  # seconds, beyond the limit, until a process that hangs has been ended


class Mutants:
    """Mutants through decoding processes."""

    def __init__(self, pool: DecoderPool) -> None:
        self._pool = pool
        self.outcomes = Counter[str]()

    def __call__(self, rng: random.Random) -> list[str]:
        kind = rng.choice(sorted(SEEDS))
        data = mutate(SEEDS[kind], rng)
        begin = time.monotonic()
        result = self._pool.submit(DecodeRequest(data=data), Preprocessing(32)).result()
        seconds = time.monotonic() - begin
        wrong = []
        if isinstance(result, DecodedPicture):
            outcome = "decoded"
            if result.pixels is None or result.pixels.shape != (32, 32, 3):
                wrong.append("it was decoded to no pixels")
        else:
            outcome = re.sub(r"[\d.x]+.*", "...", result.reason)[:50]
            if not result.reason.strip():
                wrong.append("it failed without a reason")
            if "decoder died" in result.reason or "could not be started" in result.reason:
                wrong.append(result.reason)
            if "Traceback" in result.reason:
                wrong.append(f"the reason is a stack trace: {result.reason}")
        if seconds > 2 * LIMITS.seconds + SLACK:
            wrong.append(f"it took {seconds:.0f} s")
        self.outcomes[outcome] += 1
        return [f"{kind}, {len(data)} bytes: {one}" for one in wrong]


VALUES = ("0 1 -1 2.5 1e308 1e-308 -0.0 25% 100% -3% % nan inf 1e999 ½ ٣ 0x10 1_0").split()
TEXTS = ("", " ", "hat", "a" * 1001, "\0", "\ud800", "帽子", "id:", "id:ab", "id:" + "f" * 64)
ADDRESSES = ("https://", "file:///etc/passwd", "http://127.0.0.1:1/", "../x", "/etc/passwd")


def make_json(rng: random.Random, depth: int = 0) -> object:
    """Make any JSON, mostly of values that a query could hold."""
    kind = rng.randrange(9 if depth < 3 else 7)
    if kind == 7:
        return [make_json(rng, depth + 1) for _ in range(rng.randrange(5))]
    if kind == 8:
        names = ["terms", "k", "image", "crop", "weight", "x", ""]
        return {rng.choice(names): make_json(rng, depth + 1) for _ in range(rng.randrange(4))}
    numbers = [0, 1, -1, 10_000, 2**63, 10**400, rng.uniform(-2, 2), 1e308, float("nan")]
    return [
        None,
        True,
        rng.choice(numbers),
        rng.choice(numbers),
        *rng.choices(VALUES + [*TEXTS], k=3),
    ][kind]


def make_term(rng: random.Random) -> dict[str, object]:
    """Make a term, valid or nearly so."""
    term: dict[str, object] = rng.choice(
        [
            {"image": 0},
            {"image": rng.choice([*TEXTS, *ADDRESSES])},
            {"text": rng.choice(TEXTS)},
            {"vector": [rng.choice([0, 1.0, -1e308, 1e-320]) for _ in range(rng.randrange(4))]},
        ]
    )
    if rng.random() < 0.4:
        term["crop"] = rng.choices([0, 0.5, 10, -1, *VALUES], k=rng.choice([3, 4, 4, 4, 5]))
    if rng.random() < 0.4:
        term["weight"] = make_json(rng, 3)
    if rng.random() < 0.2:
        term[rng.choice(["image", "text", "vector", "k", "crop"])] = make_json(rng)
    return term


def try_query(rng: random.Random) -> list[str]:
    """Parse a query that is valid or nearly so."""
    query: dict[str, object] = {
        "terms": [make_term(rng) for _ in range(rng.choice([0, 1, 1, 2, 65]))]
    }
    for name in ("where", "k", "min_score", "kind", "collapse", "expand", "restore", "verify"):
        if rng.random() < 0.15:
            query[name] = make_json(rng)
    text = json.dumps(query)
    if rng.random() < 0.2:
        text = mutate(text.encode(), rng).decode("utf-8", "surrogateescape")
    try:
        parsed = Query.from_json(text, [b"a picture"])
    except LookalikeError as error:
        return [] if str(error).strip() else ["it was refused without a reason"]
    files = [term.image for term in parsed.terms if isinstance(term.image, bytes)]  # one a term
    same = Query.from_json(json.dumps(parsed.to_json()), files)
    again = same.to_json()
    return [] if again == parsed.to_json() else [f"{parsed.to_json()} became {again}"]


def try_crop(rng: random.Random) -> list[str]:
    """Parse a crop, and cut it out of a picture."""
    text = ",".join(rng.choices([*VALUES, "10", "20", "30%"], k=rng.choice([3, 4, 4, 4, 4, 5])))
    if rng.random() < 0.3:
        text = mutate(text.encode(), rng).decode("utf-8", "replace")
    try:
        left, top, right, bottom = parse_crop(text).box(60, 40)
    except LookalikeError as error:
        return [] if str(error).strip() else ["it was refused without a reason"]
    inside = 0 <= left < right <= 60 and 0 <= top < bottom <= 40
    return [] if inside else [f"{text!r} is the box {left}, {top}, {right}, {bottom}"]


def refuse_public_names() -> None:
    """Let every name but those of this machine have no address: requests hold URLs."""
    resolve = socket.getaddrinfo

    def resolve_here(host: Any, *words: Any, **more: Any) -> Any:
        if host not in ("127.0.0.1", "localhost", "::1", None):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *words, **more)

    socket.getaddrinfo = resolve_here


def run_requests(tries: int, seed: int) -> bool:
    """Send requests that schemathesis makes. tries: of each operation. Returns whether all held."""
    here = str(Path(sys.executable).parent)
    program = shutil.which("schemathesis", path=os.pathsep.join([here, os.environ["PATH"]]))
    if program is None:
        raise SystemExit("schemathesis is not installed; run scripts/setup dev")
    refuse_public_names()
    with tempfile.TemporaryDirectory() as place:
        engine = open_library(Path(place) / "home")
        engine.sync(ROOT / "search" / "samples" / "hat")
        with serving(engine, allow=[Path(place)]) as client:
            command = [program, "run", f"{client.base_url}/openapi.json"]
            command += ["--phases", "examples,fuzzing", "--max-examples", str(tries)]
            command += ["--seed", str(seed + 1), "--workers", "1"]  # seed 0 counts as none
            command += ["--no-color", "--suppress-health-check", "all", "--request-timeout", "60"]
            (Path(place) / "schemathesis.toml").write_text(SCHEMATHESIS)
            done = subprocess.run(command, cwd=place, capture_output=True, text=True)
        close_library(engine)
    if done.returncode:
        print(done.stdout[-6000:] + done.stderr[-2000:], file=sys.stderr)
    count = re.search(r"(\d+) generated", done.stdout)
    number = int(count[1]) if count else 0
    failed = re.search(r"(\d+) found (\d+)? ?unique failures", done.stdout)
    wrong = int(failed[1]) if failed else int(done.returncode != 0)
    print(f"{'requests':<20} tries {number:6}  held {number - wrong:6}", flush=True)
    return done.returncode == 0


def main() -> None:
    args = parse_arguments(__doc__ or "", CLASSES)
    held = []
    for name in args.classes:
        tries = args.tries or CLASSES[name]
        if name == "requests":
            held.append(run_requests(tries, args.seed))
        elif name == "mutants":
            with DecoderPool(1, LIMITS) as pool:
                mutants = Mutants(pool)
                held.append(run_tries(name, mutants, tries, args.seed))
            for outcome, count in mutants.outcomes.most_common(12):
                print(f"    {count:6}  {outcome}", file=sys.stderr)
        else:
            attempt = {"query": try_query, "crop": try_crop}[name]
            held.append(run_tries(name, attempt, tries, args.seed))
    sys.exit(not all(held))


if __name__ == "__main__":
    main()
