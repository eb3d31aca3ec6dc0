"""Make the pictures of the page in the README and docs/page.md, by searching the samples in a
headless Chromium:

    python scripts/screenshot.py [SAMPLE]

SAMPLE is a file below search/samples. Needs Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from base64 import b64decode
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import search

SAMPLES = Path(search.__file__).parent / "samples"
PICTURES = Path(__file__).parent / "pictures"
VIEWS = {
    "page": (1280, 800, 1, "light"),
    "page_375_dark": (375, 812, 2, "dark"),
    "page_768": (768, 1024, 1, "light"),
    "page_2560_dark": (2560, 1440, 1, "dark"),
    "page_200_percent": (640, 400, 2, "light"),
}
"""Name of a file -> width and height in CSS pixels, pixels for each, and color scheme."""
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()
READY = """return !document.body.classList.contains('is-busy')
    && document.querySelector('#stage.is-ready')
    && document.querySelectorAll('.is-loaded').length > 1
    && [...document.images].every((image) => !image.src || image.complete)
    && document.getAnimations().every((one) => one.playState === 'finished')"""


def main() -> None:
    """Index, serve, search, and write the picture."""
    sample = SAMPLES / (sys.argv[1] if len(sys.argv) > 1 else "shirt/02.jpg")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LOOKALIKE_HOME": f"{folder}/home"}
        lookalike = [sys.executable, "-m", "search"]
        subprocess.run([*lookalike, "index", SAMPLES], env=environment, check=True)
        server = subprocess.Popen(
            [*lookalike, "serve", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            if server.stdout is None:
                raise RuntimeError("the server has no output")
            pages = shoot(server.stdout.readline().strip(), sample, f"{folder}/profile")
        finally:
            server.terminate()
            server.communicate()
    for name, page in pages.items():
        page.thumbnail((1280, 1280))
        out = PICTURES / f"{name}.webp"
        page.save(out, "WebP", quality=82, method=6)
        print(f"{out}: {out.stat().st_size // 1024} KiB")


def shoot(address: str, sample: Path, profile: str) -> dict[str, Image.Image]:
    """Return what the page shows for a picture, by the names of `VIEWS`."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        pages = {}
        for name, (width, height, scale, scheme) in {"first": VIEWS["page"], **VIEWS}.items():
            size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            driver.get(address)
            driver.find_element(By.ID, "file").send_keys(str(sample))
            WebDriverWait(driver, 60).until(lambda driver: driver.execute_script(READY))
            shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
            pages[name] = Image.open(io.BytesIO(b64decode(shot["data"]))).convert("RGB")
    finally:
        driver.quit()
    del pages["first"]  # the first search loads the model
    return pages


if __name__ == "__main__":
    main()
