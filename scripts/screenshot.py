"""Make the README's picture of the page, by searching the samples in a headless Chromium:

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
OUT = Path(__file__).parent / "pictures" / "page.webp"
WIDTH, HEIGHT = 1280, 800
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()
READY = """return !document.body.classList.contains('is-busy')
    && document.querySelector('#stage.is-ready')
    && document.querySelectorAll('.is-loaded').length > 9
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
            page = shoot(server.stdout.readline().strip(), sample, f"{folder}/profile")
        finally:
            server.terminate()
            server.communicate()
    OUT.parent.mkdir(exist_ok=True)
    page.save(OUT, "WebP", quality=82, method=6)
    print(f"{OUT}: {OUT.stat().st_size // 1024} KiB")


def shoot(address: str, sample: Path, profile: str) -> Image.Image:
    """What the page shows for a picture; twice, since the first search loads the model."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for _ in range(2):
            driver.get(address)
            driver.find_element(By.ID, "file").send_keys(str(sample))
            WebDriverWait(driver, 60).until(lambda driver: driver.execute_script(READY))
        shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    finally:
        driver.quit()
    return Image.open(io.BytesIO(b64decode(shot["data"]))).convert("RGB")


if __name__ == "__main__":
    main()
