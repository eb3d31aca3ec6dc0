"""Weights from the Hugging Face hub, through the cache that other programs share.

A hub that does not answer costs only seconds. A file gets its name in the cache when it is
complete, so a download that broke off is never used.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

REACH = 4.0  # seconds until the hub must have answered
STALL = 10.0  # seconds without a new byte until a download is aborted
TICK = 0.2


def find_cached(repo: str, names: Sequence[str]) -> Path | None:
    """Return the first of the files that is in the cache."""
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        cached_path = try_to_load_from_cache(repo, name)
        if isinstance(cached_path, str):
            return Path(cached_path)
    return None


def fetch(repo: str, names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Download the first of the files that the hub has into the cache, unless one is there.

    Yields the bytes downloaded and the total: once at the start, then at intervals. Raises
    ConnectionError with a short reason.
    """
    if find_cached(repo, names):
        return
    name = reach(repo, names)
    watch = _Watch()
    download = _Call(lambda: _download(repo, name, watch))
    last_done, since = 0, time.monotonic()
    try:
        yield watch.done, watch.total
        while not download.wait_for_end(TICK):
            if watch.done > last_done:
                last_done, since = watch.done, time.monotonic()
            elif time.monotonic() - since > STALL:
                raise ConnectionError("the download stands still")
            yield watch.done, watch.total
    finally:
        watch.over = True
    try:
        download.result()
    except Exception as error:  # the network's, the hub's, the disk's
        raise ConnectionError(f"the download broke off: {_first_line(error)}") from error


def reach(repo: str, names: Sequence[str]) -> str:
    """Return the first of the files that the hub has. Raises ConnectionError within seconds."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("the hub is out of reach")
    call = _Call(lambda: _find_first(repo, names))  # resolving a host name has no time limit
    if not call.wait_for_end(REACH):
        raise ConnectionError("the hub is out of reach")
    name: str = call.result()
    return name


@dataclass(frozen=True)
class Description:
    """What the hub says of a repository. sizes: bytes of its files, by name. license: as its card
    names it, or `unknown`."""

    repo: str
    sizes: Mapping[str, int]
    license: str


@cache
def describe(repo: str) -> Description:
    """Ask the hub for the files and the license of a repository. An answer is kept.

    Raises ConnectionError within seconds.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("the hub is out of reach")
    call = _Call(lambda: _ask(repo))
    if not call.wait_for_end(REACH):
        raise ConnectionError("the hub is out of reach")
    description: Description = call.result()
    return description


def read_license(card: Mapping[str, Any]) -> str:
    """Return the license that the fields in the head of a model card name, or `unknown`."""
    name = card.get("license")
    if name == "other":
        name = card.get("license_name") or name
    return ", ".join(map(str, name)) if isinstance(name, list) else str(name or "unknown")


def _ask(repo: str) -> Description:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        info = HfApi().model_info(repo, timeout=REACH, files_metadata=True)
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "nothing"
        raise ConnectionError(f"the hub answered {status}") from error
    except Exception as error:  # whatever its client library raises
        raise ConnectionError("the hub is out of reach") from error
    sizes = {one.rfilename: one.size or 0 for one in info.siblings or ()}
    card: dict[str, Any] = dict(info.card_data.__dict__) if info.card_data else {}
    return Description(repo, sizes, read_license(card))


def _find_first(repo: str, names: Sequence[str]) -> str:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    for name in names:
        try:
            _call_twice(partial(get_hf_file_metadata, hf_hub_url(repo, name), timeout=REACH))
            return name
        except EntryNotFoundError:
            continue
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else "nothing"
            raise ConnectionError(f"the hub answered {status}") from error
        except Exception as error:  # whatever its client library raises
            raise ConnectionError("the hub is out of reach") from error
    raise ConnectionError(f"the hub has none of {', '.join(names)} in {repo}")


@dataclass
class _Watch:
    """Progress of a download, and whether it should stop."""

    done: int = 0
    total: int = 0
    over: bool = False


def _download(repo: str, name: str, watch: _Watch) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Bar(tqdm):
        """A progress bar that shows nothing and tells the watch."""

        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **{**more, "disable": True})  # type: ignore[no-untyped-call]
            self._came, watch.total = 0, more.get("total") or watch.total

        def update(self, n: float | None = 1) -> None:
            self._came += int(n or 0)
            watch.done = max(watch.done, self._came)
            if watch.over:
                raise ConnectionError("the download was cancelled")

    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.CRITICAL)  # what matters is raised
    try:
        _call_twice(lambda: hf_hub_download(repo, name, tqdm_class=Bar, etag_timeout=REACH))
    finally:
        log.setLevel(level)


class _Call:
    """A call in a daemon thread, for which the caller may stop waiting."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call,), name="hub", daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self._result = call()
        except BaseException as error:
            self._error = error

    def wait_for_end(self, seconds: float) -> bool:
        """Wait at most some seconds; return whether the call has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> Any:
        """Return what the call returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._result


def _call_twice(call: Callable[[], Any]) -> None:
    """Repeat a call that failed without an answer: the hub may have closed an idle connection."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        call()
    except HfHubHTTPError:
        raise
    except Exception:  # whatever the client library raises
        call()


def _first_line(error: BaseException) -> str:
    """Return the first line of an error message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
