"""Teach `mini` its names: a vector for each, among those of pictures, and how well it finds by it.

    python scripts/train_names.py --data DATA [--vectors FILE] [--out FILE]

DATA holds photos64-{train-*,val}.zip, photos64-classes.json, clip-vit-b32-names.{npy,json} and
clothing/validation. FILE has the vectors of the training zips under the weights, as
`lookalike embed` writes them; without it they are made.

Taught names: the direction of a class of photos64 in a cosine classifier over the vectors of its
training pictures; its words are those of WordNet and, where one of them is in the list, those of
the list. The classes that are kept for measuring are not among them. Guessed names: what clothes
are called, from their CLIP text vectors by kernel ridge regression over the taught names of the
list; no label of clothing goes into that. Every name is measured by the share of right ones among
the first ten pictures that it finds: taught ones among every second picture of photos64-val (the
others are for `scripts/bench models`), guessed ones in clothing/validation. Below `RELIABLE` a name
is written down but not searched for.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from lesson import HELD_OUT, class_names
from PIL import Image
from retrieval import Embed, archive, folder, vectors
from safetensors import safe_open
from safetensors.torch import save_file
from train_ddpm import embed

from search.embedders.mini import NAMES, Mini
from search.embedders.names import RELIABLE

CLOTHES = {  # a folder of clothing -> its names in the list
    "dress": ("dress",),
    "hat": ("hat",),
    "longsleeve": ("sweatshirt", "sweater"),
    "outwear": ("coat", "jacket"),
    "pants": ("trousers",),
    "shirt": ("shirt",),
    "shoes": ("shoe", "sneakers", "boots", "leather shoes"),
    "shorts": ("short pants",),
    "skirt": ("skirt",),
    "t-shirt": ("jersey",),
}


def classifier(x: torch.Tensor, labels: torch.Tensor, steps: int = 600) -> torch.Tensor:
    """(n, d) unit vectors with labels -> (classes, d): unit directions that tell them apart."""
    generator = torch.Generator().manual_seed(0)
    middle = x.mean(0)
    start = torch.stack([x[labels == c].mean(0) for c in range(int(labels.max()) + 1)])
    weights = F.normalize(start - middle, dim=1).requires_grad_()
    optimiser = torch.optim.Adam([weights], 0.003)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.003 * (1 - step / steps)
        rows = torch.randint(len(x), (4096,), generator=generator)
        logits = x[rows] @ F.normalize(weights, dim=1).T / 0.05
        loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return F.normalize(weights.detach(), dim=1)


def guesses(taught: torch.Tensor, places: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """Kernel ridge regression from CLIP's vectors to ours. taught: (c, d); places: (c, 512), what
    CLIP says of the same names; asked: (n, 512). -> (n, d) of unit length."""
    kernel = places @ places.T + 0.01 * torch.eye(len(places))
    return F.normalize(asked @ places.T @ torch.linalg.solve(kernel, taught), dim=1)


def precision(vector: torch.Tensor, pool: torch.Tensor, right: torch.Tensor) -> float:
    """The share of right ones among the first ten of the pool."""
    return float(right[(pool @ vector).topk(10).indices].float().mean())


def read(path: Path, mini: Mini) -> tuple[list[str], torch.Tensor]:
    """Names and vectors of a file by the same encoder."""
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        if about["fingerprint"] != mini.fingerprint:
            raise SystemExit(f"{path} has the vectors of other weights")
        return json.loads(about["names"]), F.normalize(file.get_tensor("vectors").float(), dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vectors", type=Path, default=Path("photos64-vectors.safetensors"))
    parser.add_argument("--weights", type=Path, help="default: those in the package")
    parser.add_argument("--out", type=Path, help="default: beside the weights")
    args = parser.parse_args()
    mini = Mini(weights=args.weights)
    if not args.vectors.exists():
        embed(sorted(args.data.glob("photos64-train-*.zip")), args.vectors, "cpu", args.weights)
    files, x = read(args.vectors, mini)
    wnids = [name.split("/")[0] for name in files]
    chosen = sorted(set(wnids))[HELD_OUT:]
    place = {wnid: i for i, wnid in enumerate(chosen)}
    labels = torch.tensor([place.get(wnid, -1) for wnid in wnids])
    taught = classifier(x[labels >= 0], labels[labels >= 0])

    def embed_all(pictures: Sequence[Image.Image]) -> np.ndarray:
        return mini.embed([mini.preparation(picture) for picture in pictures])

    loads, kinds = archive(args.data / "photos64-val.zip", slice(HELD_OUT, None), 25)
    pool = torch.from_numpy(vectors(embed_all, loads[::2]))
    entries = taught_names(args.data, chosen, taught, pool, torch.from_numpy(kinds[::2].copy()))
    more, guessed = clothes(args.data, chosen, taught, embed_all)
    table = torch.cat([taught, guessed]).half()
    out = args.out or mini.path.with_name(NAMES)
    about = {"names": json.dumps(entries + more), "fingerprint": mini.fingerprint}
    save_file({"vectors": table.contiguous()}, out, about)
    good = [e for e in entries + more if e[1] >= RELIABLE]
    mean = np.mean([e[1] for e in entries])
    print(f"{out}: {len(good)} of {len(table)} names are reliable; taught: mean {mean:.3f}")
    for words, score, _ in sorted(entries + more, key=lambda e: e[1]):
        print(f"{score:.1f}  {', '.join(words)}")


def taught_names(
    data: Path, chosen: list[str], taught: torch.Tensor, pool: torch.Tensor, labels: torch.Tensor
) -> list[tuple[list[str], float, bool]]:
    """Words, precision and that it was taught, of each class."""
    classes = json.loads((data / "photos64-classes.json").read_text())
    listed = json.loads((data / "clip-vit-b32-names.json").read_text())
    known = class_names(data, chosen)[1]
    found = []
    for c, wnid in enumerate(chosen):
        words = classes[wnid].split(", ")
        if wnid in known:
            words += [w for w in listed[known[wnid]]["synonyms"] if w.lower() not in words]
        found.append((words, precision(taught[c], pool, labels == c), True))
    return found


def clothes(
    data: Path, chosen: list[str], taught: torch.Tensor, embed_all: Embed
) -> tuple[list[tuple[list[str], float, bool]], torch.Tensor]:
    """What clothes are called, guessed: as `taught_names`, and their vectors."""
    names, known = class_names(data, chosen)
    names = F.normalize(names - names.mean(0), dim=1)
    listed = json.loads((data / "clip-vit-b32-names.json").read_text())
    loads, kinds = folder(data / "clothing" / "validation")
    pool = torch.from_numpy(vectors(embed_all, loads))
    rows = [chosen.index(wnid) for wnid in known]
    places = names[list(known.values())]
    entries, found = [], []
    for kind, (_, called) in enumerate(sorted(CLOTHES.items())):
        right = torch.from_numpy(kinds == kind)
        for name in called:
            place = next(i for i, entry in enumerate(listed) if entry["name"] == name)
            (vector,) = guesses(taught[rows], places, names[place : place + 1])
            words = list(dict.fromkeys([name, *listed[place]["synonyms"]]))
            entries.append((words, precision(vector, pool, right), False))
            found.append(vector)
    return entries, torch.stack(found)


if __name__ == "__main__":
    main()
