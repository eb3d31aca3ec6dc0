"""What embedders over torch networks share: input tensors, precision, pauses, batch sizes.

Functions import torch when they are called, so that importing this module stays light.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from search.embedders.json_cache import JsonCache
from search.errors import ModelError
from search.types import Pixels, Vectors

if TYPE_CHECKING:
    from search.runtime import torch

PART = 6e9  # FLOPs between two pauses: well under 100 ms on two modest cores
MOST, MOST_GPU = 16, 64  # pictures in a batch


class BlockPauses:
    """Hooks on a network that call `breathe` before each of its blocks, and count the blocks.

    active: whether to call `breathe`. It is off at first: while a network is loaded, nobody else
    can use it. count: blocks that the network ran until now.
    """

    def __init__(self, network: torch.nn.Module, breathe: Callable[[], None]) -> None:
        from search.runtime import torch

        self.active, self.count = False, 0
        self._breathe = breathe
        lists = (torch.nn.ModuleList, torch.nn.Sequential)
        blocks = (
            child for m in network.modules() if isinstance(m, lists) for child in m.children()
        )
        for block in {id(block): block for block in blocks}.values():
            if any(True for _ in block.children()):  # a single layer is no block
                block.register_forward_pre_hook(self._pause)

    def _pause(self, *_: object) -> None:
        self.count += 1
        if self.active:
            self._breathe()


def normalize_pixels(
    pixels: Sequence[Pixels], mean: Sequence[float], std: Sequence[float], device: str
) -> torch.Tensor:
    """Convert n pictures (H, W, 3) uint8 to (n, 3, H, W) float32, channels last.

    mean, std: per channel, for RGB in [0, 1]; subtracted and divided by, in this order.
    """
    from search.runtime import torch

    x = torch.from_numpy(np.stack(pixels)).to(device).permute(0, 3, 1, 2).float()
    shift, scale = (torch.tensor(v, device=x.device)[:, None, None] for v in (mean, std))
    return x.div_(255).sub_(shift).div_(scale)


def autocast(device: str) -> Any:
    """Return a context in which networks run in bfloat16 on a GPU, and in float32 elsewhere."""
    from search.runtime import torch

    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda")


def to_unit_vectors(vectors: torch.Tensor) -> Vectors:
    """Convert (n, dim) of any precision and length to float32 of unit length."""
    from search.runtime import torch

    array: Vectors = torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
    return array


def build_empty(build: Callable[[], Any]) -> Any:
    """Return a network whose weights are not drawn at random, since those of a file replace them.

    Assign them: the network is on the meta device but for its causal masks. None if it cannot be
    built there, or has other tensors that no file of weights holds.
    """
    from search.runtime import torch

    root = logging.getLogger()
    root.addFilter(_drop)  # open_clip warns that the model has no weights yet
    try:
        with torch.device("meta"):
            network = build()
    except (RuntimeError, NotImplementedError):  # some ask for a value while they are built
        return None
    finally:
        root.removeFilter(_drop)
    stored = network.state_dict().keys()
    for path, module in network.named_modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if f"{path}.{name}".removeprefix(".") in stored:
                continue
            if name != "attn_mask":
                return None
            mask = torch.full(buffer.shape, -torch.inf).triu_(1)
            module.register_buffer(name, mask, persistent=False)
    return network


def _drop(_: object) -> bool:
    return False


def measure_cost(
    key: str, cache: JsonCache, pauses: BlockPauses, call: Callable[[], torch.Tensor]
) -> tuple[int, int, int]:
    """Return the FLOPs of one picture, the blocks that it goes through, and its vector's length.

    key: names the network in the cache. call: runs one picture, when the cache lacks the network;
    counting takes as long as some pictures.
    """
    from search.runtime import flops, torch

    def measure() -> list[int]:
        before = pauses.count
        cost, vector = flops(call)
        return [cost, pauses.count - before, *vector.shape[1:]]

    cost, blocks, *shape = cache.get_or_compute(f"cost {key} torch {torch.__version__}", measure)
    if len(shape) != 1:
        raise ValueError(f"its output has {len(shape) + 1} dimensions, not 2")
    return cost, blocks, shape[0]


def choose_batch(cost: int, blocks: int, device: str) -> int:
    """Return how many pictures to embed at once.

    cost: FLOPs of one picture. blocks: between which the network pauses. On a CPU, a block of the
    batch costs at most `PART`.
    """
    from search.runtime import torch

    if torch.device(device).type != "cpu":
        return MOST_GPU
    return max(1, min(MOST, int(PART * blocks / max(cost, 1))))


@contextmanager
def explain_failure(path: object, what: str, device: str, advice: str) -> Iterator[None]:
    """Turn whatever goes wrong with a file of weights into a ModelError with the reason.

    path: of the file. what: the model that the file is read as. advice: what to do next.
    """
    try:
        yield
    except Exception as error:  # a foreign file or a missing device fails in many ways
        reason = (str(error).strip() or type(error).__name__).splitlines()
        shown = " ".join(line.strip() for line in reason[:3])[:300]
        if "weights_only" in shown:  # torch then explains how to run the code in the file
            shown = "it is no plain state dict, or damaged"
        raise ModelError(
            f"the weights {path} cannot be used as {what} on {device}: {shown}; {advice}"
        ) from error
