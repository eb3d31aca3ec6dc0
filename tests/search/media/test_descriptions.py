"""What files say of pictures, in XMP, IPTC and EXIF of other programs, and of attackers."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import ExifTags, Image, PngImagePlugin

from search.errors import PictureError
from search.media.decoder_pool import DecodedPicture, DecodeRequest, DecoderPool
from search.media.descriptions import clean_caption, parse_xmp, read_embedded
from search.records.annotations import Description

LIGHTROOM = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0-c000 1.000000">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmp:CreatorTool="Adobe Photoshop Lightroom Classic 13.2" xmp:Rating="4" xmp:Label="Red">
   <dc:subject><rdf:Bag><rdf:li>Paris</rdf:li><rdf:li>boat</rdf:li></rdf:Bag></dc:subject>
   <dc:description><rdf:Alt>
     <rdf:li xml:lang="de-DE">Zwei Boote</rdf:li>
     <rdf:li xml:lang="x-default">Two boats &amp; a quay</rdf:li>
   </rdf:Alt></dc:description>
   <lr:hierarchicalSubject><rdf:Bag>
     <rdf:li>places|France|Paris</rdf:li><rdf:li>boat</rdf:li>
   </rdf:Bag></lr:hierarchicalSubject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>"""
DIGIKAM = """\ufeff<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:digiKam="http://www.digikam.org/ns/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    digiKam:ColorLabel="0">
   <digiKam:TagsList><rdf:Seq>
     <rdf:li>People/Ana</rdf:li><rdf:li>_Digikam_Internal_Tags_/Original version</rdf:li>
   </rdf:Seq></digiKam:TagsList>
   <xmp:Rating>3</xmp:Rating>
   <dc:subject><rdf:Bag><rdf:li>Ana</rdf:li><rdf:li>\u6d77\u6ee9</rdf:li></rdf:Bag></dc:subject>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">Am Meer</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()
SAYS = Description(("Paris", "boat", "places", "France"), "Two boats & a quay", 4)


def test_lightroom_and_digikam_are_understood() -> None:
    assert parse_xmp(LIGHTROOM) == SAYS
    expected = Description(("Ana", "\u6d77\u6ee9", "People"), "Am Meer", 3)
    assert parse_xmp(DIGIKAM) == expected
    assert parse_xmp(DIGIKAM.decode("utf-8-sig").encode("utf-16")) == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "HEIF", "AVIF"])
def test_xmp_is_read_from_each_format(kind: str) -> None:
    picture, out = Image.linear_gradient("L").convert("RGB"), io.BytesIO()
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", LIGHTROOM.decode())
        picture.save(out, kind, pnginfo=info)
    elif kind == "TIFF":
        picture.save(out, kind, tiffinfo={700: LIGHTROOM})
    else:
        from pillow_heif import register_heif_opener

        register_heif_opener(thumbnails=False)
        picture.save(out, kind, xmp=LIGHTROOM)
    assert read_embedded(Image.open(io.BytesIO(out.getvalue()))) == SAYS


def test_exif_of_windows_is_read() -> None:
    exif = Image.Exif()
    exif[0x9C9E] = "Strand;Sommer; strand ;\u6d77\0".encode("utf-16-le")
    exif[ExifTags.Base.ImageDescription] = "Am Stra\u00dfenrand".encode()
    exif[0x4746] = 5
    out = io.BytesIO()
    Image.linear_gradient("L").save(out, "JPEG", exif=exif)
    expected = Description(("Strand", "Sommer", "\u6d77"), "Am Stra\u00dfenrand", 5)
    assert read_embedded(Image.open(out)) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_iptc_is_read(encoding: str) -> None:
    def record(number: int, text: str) -> bytes:
        data = text.encode(encoding)
        return b"\x1c\x02" + bytes([number]) + len(data).to_bytes(2, "big") + data

    iptc = record(25, "plage") + record(25, "\u00e9t\u00e9") + record(120, "Deux bateaux")
    block = b"8BIM\x04\x04\0\0" + len(iptc).to_bytes(4, "big") + iptc + b"\0" * (len(iptc) % 2)
    data = b"Photoshop 3.0\0" + block
    out = io.BytesIO()
    Image.linear_gradient("L").save(out, "JPEG")
    jpeg = out.getvalue()
    segment = b"\xff\xed" + (len(data) + 2).to_bytes(2, "big") + data
    opened = Image.open(io.BytesIO(jpeg[:2] + segment + jpeg[2:]))
    assert read_embedded(opened) == Description(("plage", "\u00e9t\u00e9"), "Deux bateaux")


BOMB = b"<!DOCTYPE x [" + b"".join(
    b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10 if i else b"ha") for i in range(9)
)


@pytest.mark.parametrize(
    "data",
    [
        BOMB + b"]>" + LIGHTROOM.replace(b"boat", b"&a8;"),
        b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
        + LIGHTROOM.replace(b"boat", b"&f;"),
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">' + LIGHTROOM,
        LIGHTROOM[:-20],
        b"<a>" * 100_000,
        b"\xff\xd8\xff",
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        LIGHTROOM + b" " * 2**22 + b"x",
    ],
    ids=["bomb", "file", "dtd", "cut", "deep", "jpeg", "empty", "svg", "large"],
)
def test_what_is_no_xmp_is_refused(data: bytes) -> None:
    with pytest.raises(PictureError):
        parse_xmp(data)


def test_texts_are_bounded_and_on_one_line() -> None:
    many = b"".join(b"<rdf:li>t%d</rdf:li>" % i for i in range(2000))
    wide = b"<rdf:li>" + b"x" * 201 + b"</rdf:li><rdf:li>a\x0ab</rdf:li>"
    xmp = LIGHTROOM.replace(b"<rdf:li>Paris</rdf:li>", wide + many)
    tags = parse_xmp(xmp).tags
    assert len(tags) == 500 and tags[:2] == ("a b", "t0")
    assert len(clean_caption("y" * 20_000) or "") == 10_000
    assert clean_caption("OLYMPUS DIGITAL CAMERA  ") is None is clean_caption("\0 x")


@pytest.mark.parametrize("rating", ["-1", "0", "6", "nan", "1e999", "x"])
def test_a_rating_that_is_none_counts_as_none(rating: str) -> None:
    xmp = LIGHTROOM.replace(b'Rating="4"', f'Rating="{rating}"'.encode())
    assert parse_xmp(xmp).rating is None


def test_a_decoding_process_reads_the_description(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.linear_gradient("L").convert("RGB").save(path, "JPEG", xmp=LIGHTROOM)
    from helpers.libraries import parts

    pool: DecoderPool = parts()[0]
    picture = pool.submit(DecodeRequest(str(path))).result()
    assert isinstance(picture, DecodedPicture) and picture.description == SAYS
