"""Where a picture comes from: marks of downloads, credits, C2PA, public addresses."""

from __future__ import annotations

import io
import plistlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.pictures import identity, jpeg
from PIL import Image

from search import Engine, NotFoundError
from search.media.content_credentials import UUID, read_content_credentials
from search.media.credits import read_credits
from search.media.download_marks import read_download
from search.querying.sources import SourceReader, is_public_url
from search.records.sources import Download

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 xmlns:rights="http://ns.adobe.com/xap/1.0/rights/" photoshop:Credit="Agency &amp; Co"
 rights:WebStatement="https://rights.example/">
 <dc:creator><rdf:Seq><rdf:li>Ada</rdf:li></rdf:Seq></dc:creator>
 <photoshop:Source>Wire</photoshop:Source></rdf:Description></rdf:RDF></x:xmpmeta>"""


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def jumbf(label: str, *inner: bytes) -> bytes:
    """A superbox with a label."""
    return box(b"jumb", box(b"jumd", bytes(16) + b"\3" + label.encode() + b"\0") + b"".join(inner))


def text(value: str) -> bytes:
    """A text of CBOR."""
    data = value.encode()
    return (bytes((0x60 + len(data),)) if len(data) < 24 else bytes((0x78, len(data)))) + data


def manifest() -> bytes:
    """A C2PA manifest store."""
    claim = b"\xa3" + text("claim_generator_info") + b"\x81\xa1" + text("name") + text("Paint 2")
    claim += text("dc:title") + text("sea.jpg") + text("alg") + b"\x5f\x41a\xff"
    created = b"\xa1" + text("actions") + b"\x81\xa1" + text("action") + text("c2pa.created")
    actions = jumbf("c2pa.actions", box(b"cbor", created))
    assertions = jumbf("c2pa.assertions", actions)
    return jumbf("c2pa", jumbf("urn:1", assertions, jumbf("c2pa.claim", box(b"cbor", claim))))


def in_jpeg(boxes: bytes, parts: int = 2) -> bytes:
    """A JPEG with boxes in some segments APP11."""
    size = -(-len(boxes) // parts)
    segments = b""
    for order in range(parts):
        head = b"" if order == 0 else boxes[:8]
        body = b"JP" + struct.pack(">HI", 1, order + 1) + head
        body += boxes[order * size : (order + 1) * size]
        segments += b"\xff\xeb" + struct.pack(">H", len(body) + 2) + body
    data = jpeg(1)
    return data[:2] + segments + data[2:]


def in_png(boxes: bytes) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "PNG")
    body = b"caBX" + boxes
    chunk = struct.pack(">I", len(boxes)) + body + struct.pack(">I", zlib.crc32(body))
    return out.getvalue()[:33] + chunk + out.getvalue()[33:]


def in_webp(boxes: bytes) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "WEBP")
    return out.getvalue() + b"C2PA" + struct.pack("<I", len(boxes)) + boxes


def in_heif(boxes: bytes) -> bytes:
    return box(b"ftyp", b"heic") + box(b"uuid", UUID + b"\0\0\0\0manifest\0" + bytes(8) + boxes)


@pytest.mark.parametrize("wrap", [in_jpeg, in_png, in_webp, in_heif])
def test_content_credentials_are_read_and_not_believed(wrap: Callable[[bytes], bytes]) -> None:
    read = read_content_credentials(wrap(manifest()))
    assert read is not None
    assert (read.generator, read.title) == ("Paint 2", "sea.jpg")
    assert read.actions == ("c2pa.created",)
    for end in range(0, len(manifest()), 7):  # cut anywhere
        read_content_credentials(wrap(manifest()[:end]))
    assert read_content_credentials(wrap(b"")) is None


def test_hostile_boxes_end() -> None:
    deep = b"\x81" * 100_000
    broken = [
        jumbf("c2pa", jumbf("c2pa.claim", box(b"cbor", deep))),
        jumbf("c2pa", jumbf("c2pa.claim", box(b"cbor", b"\xba\xff\xff\xff\xff"))),
        jumbf("c2pa", jumbf("c2pa.claim", box(b"cbor", b"\xbf\x80\x80\xff"))),
        jumbf("c2pa", b"\0\0\0\0jumb" * 1000),
    ]
    for one in broken:
        read = read_content_credentials(in_webp(one))
        assert read is not None and read.title is None
    assert read_content_credentials(jpeg(1)) is None


def test_credits_are_read_from_xmp_and_iptc() -> None:
    iptc = b"".join(
        b"\x1c" + struct.pack(">BBH", 2, number, len(value)) + value
        for number, value in ((80, b"Ada"), (110, "Bureau é".encode()), (116, b"(c) A"))
    )
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc
    data = jpeg(1) + resource + XMP.encode()
    pairs = {(one.name, one.value) for one in read_credits(data)}
    assert pairs == {
        ("creator", "Ada"),
        ("credit", "Bureau é"),
        ("copyright", "(c) A"),
        ("credit", "Agency & Co"),
        ("source", "Wire"),
        ("rights_url", "https://rights.example/"),
    }
    assert read_credits(b"<x:xmpmeta><a></x:xmpmeta>" * 5) == ()
    assert read_credits(b"<!DOCTYPE x><rdf:RDF " + b"<" * 1000) == ()
    for end in range(len(resource)):
        read_credits(resource[:end])


def test_downloads_are_told_on_every_platform(tmp_path: Path) -> None:
    path = str(tmp_path / "a.jpg")
    url, page = "https://a.example/1.jpg", "https://a.example/"
    marks = {
        "linux": {"user.xdg.origin.url": url.encode(), "user.xdg.referrer.url": page.encode()},
        "darwin": {
            "com.apple.metadata:kMDItemWhereFroms": plistlib.dumps(
                [url, page], fmt=plistlib.FMT_BINARY
            )
        },
        "win32": {
            "Zone.Identifier": f"[ZoneTransfer]\r\nZoneId=3\r\nReferrerUrl={page}\r\n"
            f"HostUrl={url}\r\n".encode()
        },
    }
    for platform, values in marks.items():
        read = read_download(path, platform, lambda _, name, v=values: v.get(name))
        assert read is not None and (read.url, read.referrer) == (url, page), platform
    broken = {
        "linux": b"\xff\xfe",
        "darwin": b"bplist00\xff",
        "win32": b"[Zone]\nHostUrl=about:internet",
    }
    for platform, data in broken.items():
        assert read_download(path, platform, lambda *_, d=data: d) is None
        assert read_download(path, platform, lambda *_: None) is None
    assert read_download(path) is None  # there is no such file


def test_addresses_that_everybody_may_fetch() -> None:
    assert is_public_url("https://a.example.org/x.jpg")
    private = "http://nas.lan/x|http://10.0.0.1/x|http://localhost/x|ftp://a.org/x|http://[::1]/|x"
    for url in (*private.split("|"), "https://me:word@a.org/x"):
        assert not is_public_url(url)


def test_sources_of_a_picture(library: Callable[..., Engine], tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(in_jpeg(manifest()))
    (folder / "a.jpg.xmp").write_text(XMP)
    (folder / "b.jpg").write_bytes(jpeg(2))
    engine = library()
    engine.sync(folder)
    url = "https://a.example.org/1.jpg"
    parts = engine.library
    parts.sources = SourceReader(
        parts.reader, parts.open_file, lambda path: Download(path, url, None, "test")
    )
    picture_id = engine.find_id(folder / "a.jpg")
    sources = engine.sources(picture_id)
    assert sources.paths == (str(folder / "a.jpg"),)
    assert sources.content_credentials and sources.content_credentials.title == "sea.jpg"
    assert {(one.name, one.by) for one in sources.credits} >= {("creator", "sidecar")}
    assert sources.public_url == url and "https%3A%2F%2Fa.example.org" in sources.engines["TinEye"]
    document = sources.to_json()
    assert document["hint"] is None and not document["content_credentials"]["verified"]
    (folder / "b.jpg").write_bytes(jpeg(3))
    assert "as it was indexed" in str(engine.sources(identity(2)).problem)
    with pytest.raises(NotFoundError):
        engine.sources("0" * 64)
