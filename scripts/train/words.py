"""Make the table of words that `mini` can be searched by, and measure each of them.

    python scripts/train/words.py --data DATA --goals RUN/goals [--weights FILE] [--wordnet FOLDER]

DATA is as for scripts/train/mini.py, with clip-vit-b32-names.{npy,json} and photos64-val.zip. RUN
is its run: the teachers' logits are read from it. FOLDER holds WordNet 3.0 (Debian's package
wordnet-base: /usr/share/wordnet). A word comes from one of these:

    classes   an ImageNet class, a hypernym in WordNet (a union of classes), or an everyday noun of
              scripts/train/nouns.tsv with its classes; the vector is fitted to the class head
    pictures  labelled open photographs (groceries, materials): ridge regression on one half
    text      the CLIP vector of the name, by kernel ridge regression over the words above

Each candidate is measured: the share of right pictures among the first ten. Where fewer than ten
pictures are right, it is what ten of them would give: 10 / (10 + wrong ones before the median right
one). Right is what labels say (photos64-val without the first 20 classes, every second picture; the
labelled photographs of the NIPS 2017 set; groceries and materials, the other half;
clothing/validation). For unlabelled photographs it is what EfficientNet-Lite2 says with a
probability of at least 0.5. A word below 0.5 is not used. A word that has classes but no picture
cannot be measured: its precision is null. It is no word to search by, and only matches pictures
that have one of its classes as a label. The report has the share of words of its kind that are
reliable, with a 95 % interval.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from goals import Pool, read_pool
from intervals import describe_share
from PIL import Image
from retrieval import HELD_OUT, archive, folder
from safetensors.torch import load_file
from timm.data import ImageNetInfo

from diffusion import files
from search.embedders.mini import WORDS, Mini
from search.embedders.vocabulary import RELIABLE, normalize
from search.types import Pixels

NOUNS = Path(__file__).with_name("nouns.tsv")
FRUIT = (
    "golden-delicious granny-smith pink-lady red-delicious royal-gala anjou conference kaiser"
    " cantaloupe galia-melon honeydew-melon watermelon avocado banana kiwi lemon lime mango"
    " nectarine orange papaya passion-fruit peach pineapple plum pomegranate red-grapefruit"
    " satsumas"
).split()
VEGETABLES = (
    "asparagus aubergine cabbage carrots cucumber garlic ginger leek brown-cap-mushroom"
    " yellow-onion green-bell-pepper orange-bell-pepper red-bell-pepper yellow-bell-pepper"
    " floury-potato solid-potato sweet-potato beef-tomato regular-tomato vine-tomato zucchini"
    " red-beet"
).split()
FOLDERS = {  # noun -> SOURCE/CLASS folders of the open photographs, or a part of their names
    "apple": ["golden-delicious", "granny-smith", "pink-lady", "red-delicious", "royal-gala"],
    "pear": ["anjou", "conference", "kaiser"],
    "melon": ["cantaloupe", "galia-melon", "honeydew-melon", "watermelon"],
    "grapefruit": ["/red-grapefruit"],
    "mandarin": ["satsumas"],
    "eggplant": ["aubergine"],
    "carrot": ["carrots"],
    "mushroom": ["brown-cap-mushroom"],
    "onion": ["yellow-onion"],
    "pepper": ["bell-pepper"],
    "potato": ["floury-potato", "solid-potato", "sweet-potato"],
    "tomato": ["beef-tomato", "regular-tomato", "vine-tomato"],
    "beetroot": ["red-beet"],
    "milk": ["-milk"],
    "juice": ["-juice", "tropicana-"],
    "yogurt": ["yoghurt", "soyghurt", "oatghurt"],
    "fruit": [f"grocery/{name}" for name in FRUIT],
    "vegetable": [f"grocery/{name}" for name in VEGETABLES],
    "cardboard": ["trashnet/cardboard"],
    "glass": ["trashnet/glass"],
    "paper": ["trashnet/paper"],
    "plastic": ["trashnet/plastic"],
    "metal": ["trashnet/metal"],
    "rubbish": ["trashnet/trash"],
    "food": ["based-cooking/", "public-domain-recipes/"],
} | {
    name.replace("-", " "): [f"grocery/{name}"]
    for name in (
        "avocado banana kiwi lemon lime mango nectarine orange papaya passion-fruit peach pineapple"
        " plum pomegranate watermelon asparagus cabbage cucumber garlic ginger leek zucchini"
    ).split()
}
CHINESE = {
    "grapefruit": "西柚,葡萄柚", "mandarin": "橘", "beetroot": "甜菜根", "lime": "青柠",
    "nectarine": "油桃", "papaya": "木瓜", "passion fruit": "百香果", "plum": "李子",
    "asparagus": "芦笋", "leek": "韭葱", "metal": "金属", "plastic": "塑料",
}  # fmt: skip
CLOTHES = {  # noun -> folders of clothing/validation
    "dress": ["dress"],
    "hat": ["hat"],
    "sweater": ["longsleeve"],
    "hoodie": ["longsleeve", "outwear"],
    "sweatshirt": ["longsleeve"],
    "coat": ["outwear"],
    "jacket": ["outwear"],
    "trousers": ["pants"],
    "jeans": ["pants"],
    "shirt": ["shirt", "longsleeve"],
    "t-shirt": ["t-shirt"],
    "shoe": ["shoes"],
    "sneakers": ["shoes"],
    "boot": ["shoes"],
    "shorts": ["shorts"],
    "skirt": ["skirt"],
    "clothes": "dress hat longsleeve outwear pants shirt shoes shorts skirt t-shirt".split(),
}
MOST_CLASSES = 450  # a hypernym of more says too little ("whole", "object")


@dataclass
class Entry:
    """A word before it is measured. classes: of ImageNet; empty where it has none."""

    names: list[str]
    classes: list[int] = field(default_factory=list)
    everyday: bool = False
    precision: float = -1.0
    right: int = 0
    source: str = ""
    vector: torch.Tensor | None = None

    @property
    def used(self) -> bool:
        """Whether it is a word to search by."""
        return self.precision >= RELIABLE

    @property
    def listed(self) -> bool:
        """Whether it is in the table: as a word, or because it stands for labels."""
        return self.used or (not self.right and bool(self.classes))


class WordNet:
    """Nouns of WordNet 3.0 (Princeton University): synsets by offset."""

    def __init__(self, path: Path) -> None:
        self.lemmas: dict[str, list[str]] = {}
        self.parents: dict[str, list[str]] = {}
        for line in (path / "data.noun").read_text(encoding="latin-1").splitlines():
            if line.startswith(" "):
                continue
            parts = line.split(" | ")[0].split()
            count = int(parts[3], 16)
            key = f"n{parts[0]}"
            self.lemmas[key] = [parts[4 + 2 * i].replace("_", " ") for i in range(count)]
            pointers = parts[5 + 2 * count :]
            self.parents[key] = [
                f"n{pointers[i + 1]}" for i in range(len(pointers) - 3) if pointers[i] in "@ @i"
            ]
        self.senses: dict[str, list[str]] = {}  # of a lemma, the most frequent first
        for line in (path / "index.noun").read_text(encoding="latin-1").splitlines():
            if not line.startswith(" "):
                lemma, _, count, *rest = line.split()
                self.senses[lemma.replace("_", " ")] = [f"n{key}" for key in rest[-int(count) :]]

    def ancestors(self, key: str) -> list[str]:
        """All hypernyms of a synset, the nearest first."""
        ancestors, queue = dict[str, None](), [key]
        for one in queue:
            for parent in self.parents.get(one, ()):
                if parent not in ancestors:
                    ancestors[parent] = None
                    queue.append(parent)
        return list(ancestors)


def collect(wordnet: WordNet) -> list[Entry]:
    """Everyday nouns, then single classes, then hypernyms; each name belongs to one entry."""
    wnids = ImageNetInfo().label_names()
    place = {wnid: i for i, wnid in enumerate(wnids)}
    unions: dict[str, list[int]] = defaultdict(list)
    for wnid, i in place.items():
        for ancestor in sorted({wnid, *wordnet.ancestors(wnid)}):
            unions[ancestor].append(i)
    by_lemma: dict[str, list[str]] = defaultdict(list)
    for key in unions:
        for lemma in wordnet.lemmas[key]:
            by_lemma[normalize(lemma)].append(key)
    entries, chosen = list[Entry](), set[str]()

    def add(names: Iterable[str], classes: Iterable[int], everyday: bool = False) -> None:
        free = [n for n in dict.fromkeys(names) if normalize(n) not in chosen and normalize(n)]
        if free:
            chosen.update(normalize(name) for name in free)
            entries.append(Entry(free, sorted(set(classes)), everyday))

    def classes_named(name: str) -> list[int]:
        return [place[key] for key in by_lemma[normalize(name)] if key in place]

    nouns: dict[str, list[int]] = {}
    for line in NOUNS.read_text(encoding="utf-8").splitlines():
        english, chinese, *rest = line.split("\t")
        if not rest:  # the sense with most classes
            keys = by_lemma[normalize(english)]
            nouns[english] = unions[max(keys, key=lambda k: len(unions[k]))] if keys else []
        else:
            names = [] if rest[0] == "-" else rest[0].split(",")
            nouns[english] = [
                i
                for name in names
                for i in (nouns[name[1:]] if name.startswith("=") else classes_named(name))
            ]
            if names and not nouns[english]:
                raise SystemExit(f"nouns.tsv: {english}: none of {names} is an ImageNet class")
        add([english, *chinese.split(",")], nouns[english], everyday=True)
    for english in FOLDERS:
        add([english, *CHINESE.get(english, "").split(",")], [])
    for wnid, i in place.items():
        add(wordnet.lemmas[wnid], [i, *classes_named(wordnet.lemmas[wnid][0])])
    known = {tuple(entry.classes) for entry in entries}
    for key in sorted(unions, key=lambda key: len(unions[key])):
        if 1 < len(unions[key]) <= MOST_CLASSES and tuple(sorted(unions[key])) not in known:
            add(wordnet.lemmas[key], unions[key])
    return entries


@dataclass
class Pictures:
    """The pictures that words are measured by.

    x: (n, 512) of unit length. logits, shares: (n, 1000) of mini, and its probabilities. kind:
    ImageNet class, or -1. label: folder, or "". teacher: (n, 1000) probabilities of
    EfficientNet-Lite2, 0 for labelled pictures. learn: rows that may teach.
    """

    x: torch.Tensor
    logits: torch.Tensor
    kind: np.ndarray
    label: np.ndarray
    teacher: torch.Tensor
    learn: np.ndarray
    shares: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def right(self, entry: Entry) -> np.ndarray:
        """(n,) whether each picture shows what an entry names."""
        right = np.isin(self.kind, entry.classes) & (self.kind >= 0)
        if entry.classes:
            matches = self.teacher[:, entry.classes].sum(1).numpy() >= 0.5
            right |= matches & (self.kind < 0)
        name = entry.names[0]
        return right | self.marked(name)

    def marked(self, name: str) -> np.ndarray:
        """(n,) whether a picture's folder says that it shows a noun."""
        parts = [f"clothing/{part}\0" for part in CLOTHES.get(name, ())]
        parts += FOLDERS.get(name, ())
        return np.array([any(part in f"{one}\0" for part in parts) for one in self.label], bool)


@torch.inference_mode()
def run(mini: Mini, pictures: Iterable[Image.Image]) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors and logits of pictures."""
    net = mini.load_torch()
    xs: list[torch.Tensor] = []
    logits: list[torch.Tensor] = []
    batch: list[Pixels] = []

    def flush() -> None:
        from search.embedders.mobilenet import to_tensor

        pooled = net.features(to_tensor(batch, net.mean, net.std))
        xs.append(F.normalize(net.retrieval(pooled), dim=1))
        logits.append(net.classes(pooled))
        batch.clear()

    for picture in pictures:
        batch.append(mini.preprocessing(picture))
        if len(batch) == 32:
            flush()
    if batch:
        flush()
    return torch.cat(xs), torch.cat(logits)


def gather(data: Path, goals: Path, mini: Mini, step: int) -> Pictures:
    """Load all pictures and their labels. step: take every n-th of the open photographs."""
    place = {wnid: i for i, wnid in enumerate(ImageNetInfo().label_names())}
    pool = read_pool(data, tiny=False, seed=0)
    chunks = [load_file(path)["logits"] for path in sorted(goals.glob("*.safetensors"))]
    probabilities = torch.cat(chunks).float().softmax(1)
    rows = [i for i, n in enumerate(pool.names) if not n.startswith(("clothing/", "mosaic/"))]
    rows = [row for row in rows if "nips2017" in pool.names[row] or row % step == 0]
    with (data / "photos-terms" / "nips2017-dev_dataset.csv").open() as file:
        true = {row["ImageId"]: int(row["TrueLabel"]) - 1 for row in csv.DictReader(file)}
    names = [pool.names[row].split(".zip/")[1] for row in rows]
    kinds = [true.get(Path(name).stem, -1) if "nips2017" in name else -1 for name in names]
    # the clothing part shows other pieces of the collection whose labels stay unused
    labels = [name.rsplit("/", 1)[0] if not name.startswith("clothing") else "" for name in names]
    small, wnids = archive(data / "photos64-val.zip", slice(HELD_OUT, None), 25)
    listed = sorted(json.loads((data / "photos64-classes.json").read_text()))
    known = [place.get(listed[HELD_OUT + i], -1) for i in wnids[::2]]
    clothes, shelves = folder(data / "clothing" / "validation")
    kinds_of = sorted(p.name for p in (data / "clothing" / "validation").iterdir())
    loads = [*small[::2], *clothes]
    x, logits = run(mini, [*_pictures(pool, rows), *(load() for load in loads)])
    teacher = torch.zeros(len(x), 1000)
    teacher[: len(rows)] = probabilities[rows]
    label = [*labels, *[""] * len(known), *(f"clothing/{kinds_of[i]}" for i in shelves)]
    kind = [*kinds, *known, *[-1] * len(clothes)]
    learn = np.arange(len(x)) % 2 == 0
    learn[len(rows) :] = False
    return Pictures(x, logits, np.array(kind), np.array(label), teacher, learn)


def _pictures(pool: Pool, rows: list[int]) -> Iterable[Image.Image]:
    return (pool.picture(row) for row in rows)


def ridge(x: torch.Tensor, y: torch.Tensor, strength: float) -> torch.Tensor:
    """(n, d), (n, m) -> (d, m): weights of a centred linear regression."""
    middle = x.mean(0)
    z = x - middle
    gram = z.T @ z + strength * torch.eye(x.shape[1])
    return torch.linalg.solve(gram, z.T @ (y - y.mean(0)))


def class_directions(pictures: Pictures) -> torch.Tensor:
    """(512, 1000): along column c, the logit of class c rises among the vectors."""
    return ridge(pictures.x, pictures.logits, 0.01 * len(pictures.x) / 512)


def candidates(
    entry: Entry, pictures: Pictures, directions: torch.Tensor
) -> Iterable[tuple[str, torch.Tensor, torch.Tensor]]:
    """Where a vector for an entry comes from, the vector, and what the pictures are ranked by: the
    probability of the classes, or the cosine (`Searcher` does the same)."""
    if entry.classes:
        vector = F.normalize(F.normalize(directions[:, entry.classes], dim=0).mean(1), dim=0)
        yield "classes", vector, pictures.shares[:, entry.classes].sum(1)
    marked = pictures.marked(entry.names[0])
    teaching = marked & pictures.learn & np.array(["clothing" not in p for p in pictures.label])
    if teaching.sum() >= 5:
        rows = torch.from_numpy(pictures.learn)
        y = torch.from_numpy(marked[pictures.learn]).float()[:, None]
        vector = F.normalize(ridge(pictures.x[rows], y, 1.0)[:, 0], dim=0)
        yield "pictures", vector, pictures.x @ vector


def guesses(data: Path, entries: list[Entry]) -> dict[str, torch.Tensor]:
    """name of CLIP's list -> a vector among ours, by kernel ridge regression over the entries that
    have classes."""
    listed = json.loads((data / "clip-vit-b32-names.json").read_text())
    text = torch.from_numpy(np.load(data / "clip-vit-b32-names.npy").astype(np.float32))
    text = F.normalize(text - text.mean(0), dim=1)
    rows: dict[str, int] = {}
    for i, one in enumerate(listed):
        for name in (one["name"], *one["synonyms"]):
            rows.setdefault(normalize(name), i)
    pairs = [
        (rows[normalize(name)], entry.vector)
        for entry in entries
        if entry.vector is not None and entry.source == "classes"
        for name in entry.names
        if normalize(name) in rows
    ]
    places = torch.tensor([row for row, _ in pairs])
    taught = torch.stack([vector for _, vector in pairs])
    kernel = text[places] @ text[places].T + 0.1 * torch.eye(len(places))
    vectors = F.normalize(text @ text[places].T @ torch.linalg.solve(kernel, taught), dim=1)
    return {name: vectors[i] for name, i in rows.items()}


def measure(
    entry: Entry, source: str, vector: torch.Tensor, scores: torch.Tensor, pictures: Pictures
) -> None:
    """Keep a candidate if its scores rank better than the entry's present ones."""
    right = pictures.right(entry)
    usable = ~pictures.learn if source == "pictures" else np.ones(len(right), bool)
    marks = right[usable][np.argsort(-scores.numpy()[usable], kind="stable")]
    n = int(marks.sum())
    if not n:
        return
    if n >= 10:
        precision = float(marks[:10].mean())
    else:  # with ten right pictures, the first ten would reach to about the median of these
        median = np.flatnonzero(marks)[n // 2]
        precision = 10 / (10 + float((~marks[:median]).sum()))
    if precision > entry.precision:
        entry.precision, entry.right, entry.source, entry.vector = precision, n, source, vector


def calibrate(pictures: Pictures) -> tuple[float, float]:
    """The temperature with the least cross entropy on labelled pictures, and the least threshold
    at which four of five labels of single classes are right."""
    rows = torch.from_numpy(np.flatnonzero(pictures.kind >= 0))
    kind = torch.from_numpy(pictures.kind)[rows]
    logits = pictures.logits[rows]
    grid = [0.5 + 0.05 * i for i in range(60)]
    temperature = min(grid, key=lambda t: float(F.cross_entropy(logits / t, kind)))
    shares = (logits / temperature).softmax(1)
    for threshold in (0.02 * i for i in range(10, 50)):
        chosen = shares >= threshold
        if chosen.any() and float(chosen[range(len(kind)), kind].sum() / chosen.sum()) >= 0.8:
            return temperature, round(threshold, 2)
    return temperature, 0.98


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--goals", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="default: those in the package")
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--step", type=int, default=2, help="take every n-th open photograph")
    args = parser.parse_args()
    mini = Mini(weights=args.weights)
    wordnet = WordNet(args.wordnet)
    entries = collect(wordnet)
    pictures = gather(args.data, args.goals, mini, args.step)
    directions = class_directions(pictures)
    temperature, threshold = calibrate(pictures)
    pictures.shares = (pictures.logits / temperature).softmax(1)
    for entry in entries:
        for source, vector, scores in candidates(entry, pictures, directions):
            measure(entry, source, vector, scores, pictures)
            if not entry.right and source == "classes":
                entry.source, entry.vector = source, vector
    guessed = guesses(args.data, entries)
    for entry in entries:
        names = (*entry.names, *(n.rstrip("s") for n in entry.names))
        for name in dict.fromkeys(normalize(n) for n in names):
            if name in guessed and entry.precision < 0.9:
                measure(entry, "text", guessed[name], pictures.x @ guessed[name], pictures)
    write(entries, mini, wordnet, temperature, threshold)
    report(entries)


def class_names(wordnet: WordNet) -> list[str]:
    """The name of each ImageNet class, unique: where two share one, with their hypernym."""
    keys = ImageNetInfo().label_names()
    firsts = [wordnet.lemmas[key][0] for key in keys]
    return [
        first
        if firsts.count(first) == 1
        else f"{first} ({wordnet.lemmas[wordnet.parents[key][0]][0]})"
        for key, first in zip(keys, firsts, strict=True)
    ]


def unusable(entries: list[Entry], wordnet: WordNet) -> dict[str, list[str]]:
    """Names of everyday nouns that are not used, each with up to two broader words that are:
    everyday nouns with all its classes, then hypernyms of its most frequent sense."""
    used = {normalize(name): entry for entry in entries if entry.used for name in entry.names}
    everyday = sorted((e for e in used.values() if e.everyday), key=lambda e: len(e.classes))
    names = dict[str, list[str]]()
    for entry in entries:
        if not entry.everyday or entry.listed:
            continue
        broader = [e for e in everyday if entry.classes and {*entry.classes} < {*e.classes}]
        for key in wordnet.ancestors((wordnet.senses.get(entry.names[0]) or [""])[0]):
            lemmas = (used.get(normalize(lemma)) for lemma in wordnet.lemmas[key])
            broader += [e for e in lemmas if e and e.everyday]
        mains = list(dict.fromkeys(e.names[0] for e in broader))[:2]
        names |= {name: mains for name in entry.names if normalize(name) not in used}
    return names


def write(
    entries: list[Entry], mini: Mini, wordnet: WordNet, temperature: float, threshold: float
) -> None:
    """Write the words and the names of labels next to the weights."""
    good = [entry for entry in entries if entry.listed]
    words = [
        {
            "names": entry.names,
            "precision": round(entry.precision, 3) if entry.right else None,
            "right": entry.right,
            "source": entry.source,
            "everyday": entry.everyday,
            "count": len(entry.classes),
        }
        for entry in good
    ]
    tensors = {
        "vectors": torch.stack([e.vector for e in good if e.vector is not None]).half(),
        "classes": torch.tensor([i for e in good for i in e.classes], dtype=torch.int16),
    }
    about = {
        "words": json.dumps(words, ensure_ascii=False),
        "fingerprint": mini.fingerprint,
        "temperature": str(temperature),
        "threshold": str(threshold),
        "classes": json.dumps(class_names(wordnet)),
        "unusable": json.dumps(unusable(entries, wordnet), ensure_ascii=False),
    }
    files.write_tensors(mini.path.with_name(WORDS), tensors, about)
    print(f"labels: temperature {temperature:.2f}, threshold {threshold:.2f}")


def report(entries: list[Entry]) -> None:
    """Print the number of words that are used, by source."""
    nouns = [entry for entry in entries if entry.everyday]
    measured = [entry for entry in nouns if entry.right]
    good = [entry for entry in measured if entry.precision >= RELIABLE]
    used = [entry for entry in nouns if entry.used]
    print(f"everyday nouns: {len(nouns)}; {len(used)} are used, {len(nouns) - len(used)} are not")
    print(f"{len(measured)} could be measured; {len(good)} of these have {RELIABLE} or more")
    print("below: " + ", ".join(e.names[0] for e in measured if e.precision < RELIABLE))
    without = [e.names[0] for e in nouns if not e.right and not e.used]
    print("without a class or picture: " + ", ".join(without))
    for source in ("classes", "pictures", "text"):
        chosen = [e for e in entries if e.source == source and e.precision >= RELIABLE]
        mean = np.mean([e.precision for e in chosen]) if chosen else 0
        print(f"{source}: {len(chosen)} measured words, mean precision {mean:.3f}")
    print(f"not measured: {sum(e.listed and not e.used for e in entries)} names")
    alike = [e for e in entries if e.right and len(e.classes) == 1]
    reliable = sum(e.precision >= RELIABLE for e in alike)
    print(
        f"words of one class that could be measured: {len(alike)}; "
        f"{describe_share(reliable, len(alike))} have {RELIABLE} or more"
    )
    print(f"names: {sum(len(e.names) for e in entries if e.used)}")


if __name__ == "__main__":
    main()
