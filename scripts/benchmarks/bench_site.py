"""Measure what a web site costs: a first listing, and one in which nothing changed.

    .venv/bin/python scripts/benchmarks/bench_site.py [--pages 1000]

The site is on loopback and answers at once, so this is the cost of lookalike alone, without
decoding and without the pause between requests. Each page links to 50 others and shows 5 pictures.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from search.catalog.writes import CatalogFile
from search.indexing.scan_site import SiteLimits, SiteScan
from search.media.addresses import AllowedHosts
from search.media.fetch import Fetcher
from search.media.sites import SiteReader, number_of

LINKS, PICTURES = 50, 5


class Handler(BaseHTTPRequestHandler):
    """Answers with made pages and pictures, which have an ETag."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    pages = 0

    def do_GET(self) -> None:
        name = self.path.strip("/")
        if name.endswith((".txt", ".xml")):
            self.answer(404, b"", "")
            return
        if name.endswith(".jpg"):
            self.answer(200, name.encode(), "image/jpeg")
            return
        number = int(name or 0)
        links = "".join(f'<a href="/{(number * 7 + i) % self.pages}">x</a>' for i in range(LINKS))
        shown = "".join(f'<img src="/{number}-{i}.jpg" alt="a {i}">' for i in range(PICTURES))
        self.answer(200, f"<title>{number}</title>{links}{shown}".encode(), "text/html")

    def answer(self, status: int, body: bytes, media_type: str) -> None:
        """Send an answer, or 304 if the client has it."""
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if status == 200 and self.headers.get("If-None-Match") == tag:
            status, body = 304, b""
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("ETag", tag)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    """Print the seconds of two listings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=1000)
    Handler.pages = parser.parse_args().pages
    hosts = AllowedHosts.parse(["127.0.0.1"])
    reader = SiteReader(lambda: Fetcher(2**24, 20.0, allow_hosts=hosts), 0.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_address[1]}"
        limits = SiteLimits(pages=2 * Handler.pages)
        known: dict[str, CatalogFile] = {}
        answers = {}
        for name in ("first", "unchanged"):
            start = time.perf_counter()
            scan = SiteScan(reader, root, (), known, answers, limits)
            for _ in scan.run():
                pass
            seconds = time.perf_counter() - start
            pictures = len(scan.listing.entries)
            requests = scan.page_count + len(known)
            print(
                f"{name}: {scan.page_count} pages, {pictures} pictures, {seconds:.1f} s, "
                f"{1000 * seconds / requests:.1f} ms a request"
            )
            answers = scan.answers
            known = {
                path: CatalogFile(1, 0, number_of(hashlib.sha256(path.encode()).hexdigest()), 0, 1)
                for path in scan.listing.entries
            }
        server.shutdown()
    reader.close()
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB at most")


if __name__ == "__main__":
    main()
