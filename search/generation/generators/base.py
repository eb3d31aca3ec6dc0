"""What a generator of variants is: the protocol that our model and pipelines of others have."""

from __future__ import annotations

from collections.abc import Generator as Iterates, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from diffusion.sampling.variants import VariantSettings
from search.records.indexing import Progress


@dataclass(frozen=True)
class GeneratorState:
    """What a generator yields after each piece of work.

    step: denoising steps so far, from 0. sigma: noise level that the candidates started from.
    pictures: previews, one for each seed, or none; the candidates in the last state. last: whether
    these are the candidates.
    """

    step: int
    sigma: float
    pictures: tuple[Image.Image, ...] = ()
    last: bool = False


class Generator(Protocol):
    """Makes candidates for variants of a picture.

    name: as a user gives it. batch: candidates that it makes together at most. regimes: settings of
    `near`, `same` and `concept`. neighbour_sigma: noise level of variants that start from other
    pictures.
    """

    name: str
    batch: int

    @property
    def regimes(self) -> Mapping[str, VariantSettings]: ...

    @property
    def neighbour_sigma(self) -> float: ...

    @property
    def fingerprint(self) -> str:
        """A hash of the weights: candidates depend on them and on the request. Raises
        ModelError."""
        ...

    @property
    def license(self) -> str:
        """The license of the weights as their card names it, or `unknown`."""
        ...

    @property
    def native_size(self) -> int | None:
        """Pixels of the long side of a square that it works at, None before its files are here."""
        ...

    def fetch(self) -> Iterator[Progress]:
        """Download the weights that are missing, after a line with their license for the user.
        Raises ModelError."""
        ...

    def check(self, dial: VariantSettings, neighbours: bool) -> None:
        """Raise QueryError for settings that the weights cannot follow. neighbours: whether the
        candidates start from other pictures."""
        ...

    def vary(
        self,
        picture: Image.Image,
        dial: VariantSettings,
        seeds: Sequence[int],
        starts: Sequence[Image.Image],
    ) -> Iterates[GeneratorState, None, None]:
        """Make one candidate for each seed.

        picture: RGB, what the candidates are of. dial: how far they go from their starts, at sigma
        0 not at all. seeds: B seeds of 64 bits; the same seed gives the same candidate alone or in
        a batch, but for rounding. starts: B pictures that are noised, the query itself or others;
        a candidate has the size of its start.

        The last state has the candidates. It is called outside the inference thread, which does
        each network pass. Closing the iterator cancels. Raises ModelError.
        """
        ...

    def close(self) -> None:
        """Free the memory of the weights. The next call of `vary` loads them again."""
        ...
