"""The validation scores that choose between versions of `mini`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from retrieval import HARD, HELD_OUT, PLAIN, Embed, archive, categories, folder, recall, vectors

from search.embedders.mobilenet import to_tensor
from search.media.preprocessing import Preprocessing


class Exam:
    """clothing/validation, and photos64-val of 20 classes that are not those of the test."""

    def __init__(self, data: Path) -> None:
        self.clothes = folder(data / "clothing" / "validation")
        chosen = slice(HELD_OUT, 2 * HELD_OUT)
        self.small = archive(data / "photos64-val.zip", chosen, 20)

    def __call__(self, net: torch.nn.Module, prepare: Preprocessing) -> dict[str, float]:
        """mAP of both sets, recall@1 of every seventh piece of clothing under attack."""
        embed, (loads, _) = self.embed(net, prepare), self.clothes
        index = np.concatenate([vectors(embed, loads), vectors(embed, self.small[0])])
        by_kind, queries = self._classes(index), range(0, len(loads), 7)
        for kind, edits in {"plain": PLAIN, "hard": HARD}.items():
            each = [recall(embed, loads, queries, index, edit, 0) for edit in edits.values()]
            by_kind[kind] = float(np.mean(each))
        return by_kind | {"mean": sum(by_kind.values()) / len(by_kind)}

    def classes(self, net: torch.nn.Module, prepare: Preprocessing) -> dict[str, float]:
        """mAP of both sets."""
        embed = self.embed(net, prepare)
        return self._classes(
            np.concatenate([vectors(embed, loads) for loads, _ in (self.clothes, self.small)])
        )

    def _classes(self, rows: np.ndarray) -> dict[str, float]:
        parts = np.split(rows, [len(self.clothes[1])])
        labels = {"clothing": self.clothes[1], "photos64": self.small[1]}
        return {
            name: float(categories(x, of)[0].mean())
            for (name, of), x in zip(labels.items(), parts, strict=True)
        }

    @staticmethod
    def embed(net: torch.nn.Module, prepare: Preprocessing) -> Embed:
        """Embed pictures with the network."""

        def embed(pictures: Sequence[Image.Image]) -> np.ndarray:
            with torch.inference_mode():
                return net(to_tensor([prepare(p) for p in pictures], net.mean, net.std)).numpy()

        return embed


def as_text(scores: dict[str, float]) -> str:
    """Names and values on one line."""
    return "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
