"""Groups of duplicates of a library, and what of each group is kept.

Three kinds, apart from each other. Each picture is in at most one group of a kind:

- exact: files with the same bytes, or whose pictures have the same pixels.
- copy: pictures of which any two are copies of each other (`copies.are_copies`). Pictures with the
  same pixels count as one, with the files of all.
- similar: pictures of which any two are much alike, without being copies. Of copies, the one with
  the most pixels stands for all. They are offered for removal only to those who ask for this kind.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from search.catalog.catalog import Catalog
from search.catalog.reads import CatalogReader, rescore
from search.catalog.removals import PictureFile, Removals
from search.catalog.traits import Traits, list_repeated, list_twins, load_traits
from search.catalog.writes import Space
from search.embedders.models import Models
from search.errors import NotFoundError, QueryError
from search.files import shown
from search.media.images import SUFFIXES as PICTURES
from search.media.object_urls import is_remote, join_place, resolve_place
from search.media.raw import SUFFIXES as RAW
from search.querying.calibration import find_least_cosine, load_calibrations
from search.querying.conditions import Comparison, Condition, Or
from search.querying.copies import are_bursts, are_copies, likeness_of
from search.querying.keeping import Candidate, KeepRules, is_in, stem_of
from search.querying.linkage import link_completely
from search.querying.query import list_conditions
from search.querying.selection import Selection, read_where
from search.records.duplicates import (
    DUPLICATE_KINDS,
    Action,
    Duplicate,
    DuplicateGroup,
    DuplicateKind,
    Duplicates,
    FileOfPicture,
    Mark,
)
from search.records.pictures import Metadata
from search.types import RowIds
from search.vectors.pairs import FLOOR, PairFinder, Pairs

if TYPE_CHECKING:
    from search.records.annotations import Annotations

SORTS = ("bytes", "score")
MOST_SIZE = 1000
"""Groups of a page at most."""
REMEMBERED = 4
"""Answers whose groups are kept in memory until the catalog changes."""
FILMS = frozenset((".mov", ".mp4"))
"""Endings of the film of a live photo."""


@dataclass(frozen=True)
class DuplicateQuery:
    """Which duplicates to list.

    kind: one of `records.DUPLICATE_KINDS`; None for all, one after the other. min_score: least
    cosine of two pictures of a group; infinity for none. min_probability: the same by the least
    probability that one is the other, edited, as the calibration of the model has it; see
    `DuplicateFinder.set_least_score`. where: conditions that all pictures of a group hold. folder:
    only files in it. between: two folders: only files in them, and only groups with files of both.
    keep: rules, see `keeping.RULES`. sort: `bytes`, those that removing frees, or `score`, the
    likeness; greatest first. page: from 1. size: groups of a page.
    """

    kind: DuplicateKind | None = None
    min_score: float | None = None
    where: tuple[str | Condition, ...] = ()
    folder: str | None = None
    between: tuple[str, str] | None = None
    keep: KeepRules = field(default_factory=KeepRules)
    sort: str = "bytes"
    page: int = 1
    size: int = 100
    min_probability: float | None = None

    @classmethod
    def of(
        cls,
        kind: str | None = None,
        min_score: float | None = None,
        where: str | Condition | Sequence[str | Condition] = (),
        folder: str | os.PathLike[str] | None = None,
        between: Sequence[str | os.PathLike[str]] | None = None,
        keep: str | Sequence[str] | None = None,
        sort: str = "bytes",
        page: int = 1,
        size: int = 100,
        min_probability: float | None = None,
    ) -> DuplicateQuery:
        """Check what a user gives. Without `keep`, files of the first folder of `between` are kept.

        Raises QueryError.
        """
        known = next((one for one in DUPLICATE_KINDS if one == kind), None)
        if kind is not None and known is None:
            raise QueryError(f"kind {kind[:100]!r}: give one of {', '.join(DUPLICATE_KINDS)}")
        if min_score is not None and min_probability is not None:
            raise QueryError("give min_score or min_probability, not both")
        name = "min_score" if min_score is not None else "min_probability"
        if not (min_score is min_probability is None) and kind == "exact":
            raise QueryError(f"{name} is for copies and similar pictures; leave it out for exact")
        if min_probability is not None and not 0 <= min_probability <= 1:
            raise QueryError(f"min_probability is {min_probability}; give 0 to 1")
        if min_score is not None and not FLOOR <= min_score <= 1:
            raise QueryError(f"min_score is {min_score}; give a cosine from {FLOOR} to 1")
        if sort not in SORTS:
            raise QueryError(f"sort {sort[:100]!r}: give one of {', '.join(SORTS)}")
        if page < 1 or not 1 <= size <= MOST_SIZE:
            raise QueryError(f"page {page} of {size} groups: give 1 or more, and 1 to {MOST_SIZE}")
        pair = None if between is None else tuple(resolve_place(one) for one in between)
        if pair is not None and (len(pair) != 2 or folder is not None):
            raise QueryError("between takes two folders, and no other folder beside them")
        if pair is not None and (is_in(pair[0], pair[1]) or is_in(pair[1], pair[0])):
            raise QueryError("between takes two folders; one of these is inside the other")
        rules = KeepRules.parse(keep)
        if keep is None and pair is not None:
            rules = KeepRules((f"folder:{pair[0]}", *rules.rules))
        place = None if folder is None else resolve_place(folder)
        two = None if pair is None else (pair[0], pair[1])
        conditions = list_conditions(where)
        read_where(conditions)  # a wrong one is told first, also if the library is empty
        options = (conditions, place, two, rules, sort, page, size, min_probability)
        return cls(known, min_score, *options)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that files must be in; none for all."""
        if self.between is not None:
            return self.between
        return () if self.folder is None else (self.folder,)


@dataclass(frozen=True)
class RawGroup:
    """A group by row ids. members: for each picture, the row ids of those with its pixels; for the
    kind `exact`, one member. score: the least cosine of two. bytes: without the largest file."""

    kind: DuplicateKind
    members: tuple[tuple[int, ...], ...]
    score: float
    bytes: int


class DuplicateFinder:
    """Lists groups of duplicates, as far as a reader shows them. Threads may share it."""

    def __init__(
        self,
        reader: CatalogReader,
        catalog: Catalog,
        models: Models,
        find_pairs: Callable[[Space], PairFinder],
        measure_sharpness: Callable[[Sequence[str]], list[float]],
    ) -> None:
        """find_pairs: returns the pairs of a space. measure_sharpness: measures pictures, by their
        ids."""
        self._reader, self._models, self._find_pairs = reader, models, find_pairs
        self._whole = CatalogReader(reader.database)
        self._files = Removals(reader, catalog)
        self._measure_sharpness = measure_sharpness
        self._answers = OrderedDict[Hashable, list[RawGroup]]()
        self._lock = threading.Lock()

    def set_least_score(self, query: DuplicateQuery, space: Space) -> DuplicateQuery:
        """Return the query with the `min_score` of its `min_probability`, from `FLOOR` on.

        The probability is of the cosine alone, as a search shows it for a hit that was not
        compared. It rises with the cosine, so both limits are one. Raises QueryError for a model
        without a calibration.
        """
        if query.min_probability is None:
            return query
        calibration = load_calibrations(self._reader, space).get("cosine")
        if calibration is None:
            raise QueryError(
                f"min_probability needs a calibration of {space.name}, which has none; run "
                "`lookalike calibrate`, or give min_score"
            )
        least = max(find_least_cosine(calibration, query.min_probability), FLOOR)
        return replace(query, min_score=least, min_probability=None)

    def find(self, query: DuplicateQuery, space: Space) -> Duplicates:
        """Return a page of groups, of what was compared so far. Raises LookalikeError."""
        query = self.set_least_score(query, space)
        groups = self._list(query, space)
        part = groups[(query.page - 1) * query.size : query.page * query.size]
        return Duplicates(
            page=query.page,
            pages=-(-len(groups) // query.size),
            total=len(groups),
            bytes=sum(one.bytes for one in groups),
            model=space.name,
            keep=query.keep.rules,
            groups=tuple(self._describe(part, query, space)),
        )

    def _list(self, query: DuplicateQuery, space: Space) -> list[RawGroup]:
        """Return all groups in order, from memory while the catalog is as it was."""
        state = self._reader.database.state()
        names = "kind min_score where folders between sort".split()
        pairs = self._find_pairs(space)
        key = state, space.id, pairs.version, *(getattr(query, one) for one in names)
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key]
        groups = list(self._make(query, space, pairs.pairs))
        order = DUPLICATE_KINDS.index
        by = query.sort
        groups.sort(key=lambda one: (order(one.kind), -getattr(one, by), one.members))
        with self._lock:
            self._answers[key] = groups
            while len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        return groups

    def _make(self, query: DuplicateQuery, space: Space, pairs: Pairs) -> Iterable[RawGroup]:
        self._require_folders(query.folders)
        is_chosen = set(self._select(query, query.folders, space).tolist())
        sides = [set(self._select(query, (one,), space).tolist()) for one in query.between or ()]
        same = list_twins(self._whole)
        twins = [[n for n in group if n in is_chosen] for group in same]
        if query.kind in (None, "exact"):
            alone = set(list_repeated(self._whole)) & is_chosen
            alone -= {n for group in twins for n in group}
            yield from self._find_exact([*twins, *([n] for n in sorted(alone))], query)
        if query.kind == "exact":
            return
        for group in self._find_alike(query, space, pairs, is_chosen, same):
            rows = {n for member in group.members for n in member}
            if all(rows & side for side in sides):
                yield group

    def _require_folders(self, folders: Sequence[str]) -> None:
        """Raise NotFoundError for a folder that is neither indexed nor in or above one that is."""
        listed = self._reader.list_roots().values()
        for folder in folders:
            if not any(is_in(folder, one) or is_in(one, folder) for one in listed):
                raise NotFoundError(
                    f"{shown(folder)} is in no indexed folder; `lookalike status` lists them"
                )

    def _select(self, query: DuplicateQuery, folders: Sequence[str], space: Space) -> RowIds:
        """Return the pictures that hold the conditions and have a file in one of some folders."""
        conditions = list(query.where)
        held = [Comparison("folder", "=", one) for one in folders]
        if held:
            conditions.append(held[0] if len(held) == 1 else Or(tuple(held)))
        return Selection(self._reader, self._models, conditions, space).row_ids()

    def _find_exact(
        self, groups: Sequence[Sequence[int]], query: DuplicateQuery
    ) -> Iterable[RawGroup]:
        """Return the groups of which there is more than one file. groups: of the same pixels."""
        by_row = self._list_files([n for group in groups for n in group], query.folders)
        for group in groups:
            listed = [one for row_id in group for one in by_row.get(row_id, ())]
            sides = query.between or ()
            if len(listed) < 2 or not all(any(is_in(_path(f), s) for f in listed) for s in sides):
                continue
            sizes = [one.place.size for one in listed]
            yield RawGroup("exact", (tuple(group),), 1.0, sum(sizes) - max(sizes))

    def _list_files(
        self, row_ids: Sequence[int], folders: Sequence[str]
    ) -> dict[int, list[PictureFile]]:
        """Return the files of pictures that are in one of some folders; in any, without folders."""
        by_row = dict[int, list[PictureFile]]()
        for one in self._files.list_files(row_ids):
            if not folders or any(is_in(_path(one), folder) for folder in folders):
                by_row.setdefault(one.row_id, []).append(one)
        return by_row

    def _find_alike(
        self,
        query: DuplicateQuery,
        space: Space,
        pairs: Pairs,
        is_chosen: set[int],
        same: Sequence[Sequence[int]],
    ) -> Iterable[RawGroup]:
        """Return the groups of copies and of similar pictures. same: groups of pictures with the
        same pixels."""
        usual = likeness_of(space.name)
        least = usual.similar if query.min_score is None else query.min_score
        copy = usual.copy
        if query.min_score is not None and query.kind != "similar":
            copy = max(copy, query.min_score)
        may_be = (pairs.scores >= copy) & (pairs.differences <= usual.difference)
        if query.kind != "copy":
            may_be |= pairs.scores >= least
        pairs = pairs.select(may_be)
        members = _list_members(pairs, is_chosen, same)
        faces = {n: one[0] for n, one in members.items()}
        held = np.array(sorted(members), np.int64)
        pairs = pairs.select(np.isin(pairs.left, held) & np.isin(pairs.right, held))
        traits = load_traits(self._reader, sorted(set(faces.values())))
        lookup = np.array([faces[n] for n in held.tolist()], np.int64)
        left, right = (
            traits.at(lookup[np.searchsorted(held, side)]) for side in (pairs.left, pairs.right)
        )
        likeness = replace(usual, copy=copy)
        copies = are_copies(pairs.scores, pairs.differences, left, right, likeness)
        groups = link_completely(_links(pairs.select(copies)))
        sizes = dict(zip(traits.rows.tolist(), traits.bytes.tolist(), strict=True))

        def make(kind: DuplicateKind, rows: Sequence[int], score: float) -> RawGroup:
            several = tuple(members[n] for n in rows)
            each = [sizes[one[0]] * len(one) for one in several]
            return RawGroup(kind, several, score, sum(each) - max(each))

        if query.kind in (None, "copy"):
            yield from (make("copy", rows, score) for rows, score in groups)
        if query.kind == "copy":
            return
        pixels = dict(
            zip(traits.rows.tolist(), (traits.width * traits.height).tolist(), strict=True)
        )
        followers = set[int]()
        for rows, _ in groups:
            leader = max(rows, key=lambda n: (pixels[faces[n]], -n))
            followers.update(n for n in rows if n != leader)
        follow = np.array(sorted(followers), np.int64)
        alike = (pairs.scores >= least) & ~copies & ~left.low_content & ~right.low_content
        alike &= ~np.isin(pairs.left, follow) & ~np.isin(pairs.right, follow)
        for rows, score in link_completely(_links(pairs.select(alike))):
            yield make("similar", rows, score)

    # descriptions --------------------------------------------------------------------------------

    def _describe(
        self, groups: Sequence[RawGroup], query: DuplicateQuery, space: Space
    ) -> Iterable[DuplicateGroup]:
        rows = [n for group in groups for member in group.members for n in member]
        facts = _Facts(
            self._list_files(rows, query.folders),
            self._reader.load_metadata(rows),
            self._reader.annotations(rows),
            load_traits(self._reader, rows),
            set(self._reader.list_roots().values()) - set(self._list_upload_roots()),
        )
        siblings = Siblings()
        for group in groups:
            pictures = self._list_pictures(group, facts)
            if len(pictures) > 1:  # else files left the catalog meanwhile
                yield self._describe_group(group, pictures, facts, siblings, query, space)

    def _list_upload_roots(self) -> list[str]:
        number = self._reader.find_uploads_root()
        return [] if number is None else [self._reader.list_roots()[number]]

    def _list_pictures(self, group: RawGroup, facts: _Facts) -> list[list[PictureFile]]:
        """Return the files of each picture of a group; of an exact one, each file by itself."""
        listed = [
            sorted((f for n in member for f in facts.files.get(n, ())), key=facts.order)
            for member in group.members
        ]
        if group.kind == "exact":
            listed = [[one] for one in listed[0]]
        return [one for one in listed if one and one[0].row_id in facts.metadata]

    def _describe_group(
        self,
        group: RawGroup,
        pictures: Sequence[Sequence[PictureFile]],
        facts: _Facts,
        siblings: Siblings,
        query: DuplicateQuery,
        space: Space,
    ) -> DuplicateGroup:
        names = [[_path(one) for one in several] for several in pictures]
        beside = [siblings.find(paths, [p for some in names for p in some]) for paths in names]
        marks = [_mark(paths, some) for paths, some in zip(names, beside, strict=True)]
        for i in self._find_bursts(group, pictures, facts):
            marks[i] = ("burst", *marks[i])
        candidates = [
            facts.make_candidate(several, bool(some))
            for several, some in zip(pictures, beside, strict=True)
        ]
        original = query.keep.choose(candidates, self._measure_sharpness)
        is_offered = group.kind != "similar" or query.kind == "similar"
        order = sorted(
            range(len(pictures)), key=lambda i: (candidates[i] is not original, candidates[i].key)
        )
        scores = self._score(group, [pictures[i][0].row_id for i in order], space)
        described = []
        for i, score in zip(order, scores, strict=True):
            action: Action = "remove" if is_offered and not marks[i] else "leave"
            action = "keep" if candidates[i] is original else action
            described.append(
                facts.describe(pictures[i], names[i], action, score, marks[i], beside[i])
            )
        freed = sum(one.bytes for one in described if one.action == "remove")
        digest = hashlib.sha256(group.kind.encode())
        for path in sorted(p for some in names for p in some):
            digest.update(os.fsencode(path) + b"\0")
        return DuplicateGroup(
            digest.hexdigest()[:16], group.kind, group.score, freed, tuple(described)
        )

    def _score(self, group: RawGroup, rows: Sequence[int], space: Space) -> Sequence[float | None]:
        """Return the cosine of each picture with the first one."""
        if group.kind == "exact":
            return [None] * len(rows)
        present, stored = self._reader.load_vectors(space, rows)
        places = {n: i for i, n in enumerate(present)}
        if rows[0] not in places:
            return [None] * len(rows)
        scores = rescore(stored[places[rows[0]]], stored).tolist()
        return [scores[places[n]] if n in places else None for n in rows]

    @staticmethod
    def _find_bursts(
        group: RawGroup, pictures: Sequence[Sequence[PictureFile]], facts: _Facts
    ) -> set[int]:
        """Return the places of the pictures that belong to a burst with another one."""
        if group.kind == "exact":
            return set()
        rows = np.array([one[0].row_id for one in pictures], np.int64)
        i, j = np.triu_indices(len(rows), 1)
        bursts = are_bursts(facts.traits.at(rows[i]), facts.traits.at(rows[j]))
        return {*i[bursts].tolist(), *j[bursts].tolist()}


@dataclass(frozen=True)
class _Facts:
    """What is known of the pictures of some groups, by row id. own: roots of the user's files."""

    files: dict[int, list[PictureFile]]
    metadata: dict[int, Metadata]
    annotations: dict[int, Annotations]
    traits: Traits
    own: set[str]

    def order(self, file: PictureFile) -> tuple[bool, int, str]:
        """Return what files of the same worth are sorted by: those that the library keeps last."""
        path = _path(file)
        return file.place.root not in self.own, len(path), path

    def make_candidate(self, files: Sequence[PictureFile], is_paired: bool) -> Candidate:
        known = [n for n in {one.row_id for one in files} if n in self.metadata]
        metadata = [self.metadata[n] for n in known]
        return Candidate(
            key=self.order(files[0]),
            id=files[0].picture_id,
            paths=tuple(_path(one) for one in files),
            pixels=max(one.width * one.height for one in metadata),
            bytes=max(one.place.size for one in files),
            date=min((one.taken for one in metadata if one.taken), default=None),
            modified=min(one.place.mtime_ns for one in files),
            facts=max(self._count_facts(n) for n in known),
            is_paired=is_paired,
        )

    def _count_facts(self, row_id: int) -> int:
        """Return how many things are known of a picture."""
        metadata, notes = self.metadata[row_id], self.annotations.get(row_id)
        count = len(metadata.exif) + (metadata.latitude is not None)
        if notes is not None:
            count += len(notes.tags) + notes.favourite + (notes.rating is not None)
            count += bool(notes.caption and notes.caption_origin != "model") + len(notes.albums)
        return count

    def describe(
        self,
        files: Sequence[PictureFile],
        names: Sequence[str],
        action: Action,
        score: float | None,
        marks: tuple[Mark, ...],
        companions: tuple[str, ...],
    ) -> Duplicate:
        first = files[0]
        metadata, notes = self.metadata[first.row_id], self.annotations.get(first.row_id)
        return Duplicate(
            id=first.picture_id,
            path=names[0],
            files=tuple(
                FileOfPicture(one.picture_id, name) for one, name in zip(files, names, strict=True)
            ),
            action=action,
            score=score,
            type=metadata.type,
            width=metadata.width,
            height=metadata.height,
            bytes=sum(one.place.size for one in files),
            taken=metadata.taken,
            camera=metadata.camera,
            tags=tuple(notes.tags) if notes else (),
            favourite=bool(notes and notes.favourite),
            rating=notes.rating if notes else None,
            marks=marks,
            companions=companions,
        )


class Siblings:
    """Files with the same name but for the ending. Lists each folder once."""

    def __init__(self) -> None:
        self._folders = dict[str, dict[str, list[str]]]()

    def find(self, paths: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
        """Return the films and RAW files that belong to files, and pictures that belong to a RAW
        file. others: files that may be in object storage, which is not listed."""
        siblings = dict[str, None]()
        for path in paths:
            folder, stem, ending = stem_of(path)
            belonging = FILMS | (PICTURES if ending in RAW else RAW)
            for other in self._list(folder, others).get(stem, ()):
                kind = stem_of(other)[2]
                if other != path and kind != ending and kind in belonging:
                    siblings[other] = None
        return tuple(siblings)

    def _list(self, folder: str, others: Sequence[str]) -> dict[str, list[str]]:
        """Return the files of a folder by their names without endings."""
        if folder not in self._folders or is_remote(folder):
            listed = [path for path in others if stem_of(path)[0] == folder]
            if not is_remote(folder):
                try:
                    listed = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
                except OSError:  # it is not there now
                    pass
            by_stem = dict[str, list[str]]()
            for path in listed:
                by_stem.setdefault(stem_of(path)[1], []).append(path)
            self._folders[folder] = by_stem
        return self._folders[folder]


def _mark(paths: Sequence[str], companions: Sequence[str]) -> tuple[Mark, ...]:
    """Return why a picture with companions is no mere duplicate."""
    endings = {stem_of(one)[2] for one in companions}
    marks = list[Mark]()
    if endings - FILMS:
        marks.append("raw")
    if endings & FILMS:
        marks.append("live")
    return tuple(marks)


def _path(file: PictureFile) -> str:
    return join_place(file.place.root, file.place.path)


def _links(pairs: Pairs) -> Iterable[tuple[int, int, float]]:
    parts = (pairs.left.tolist(), pairs.right.tolist(), pairs.scores.tolist())
    return zip(*parts, strict=True)


def _list_members(
    pairs: Pairs, is_chosen: set[int], same: Sequence[Sequence[int]]
) -> dict[int, tuple[int, ...]]:
    """Return the chosen pictures with the pixels of each picture of some pairs, by its row id.
    Those without a chosen one are left out. same: groups of pictures with the same pixels."""
    paired = set(np.union1d(pairs.left, pairs.right).tolist())
    members: dict[int, tuple[int, ...]] = {n: (n,) for n in paired if n in is_chosen}
    for group in same:
        for n in paired & set(group):
            if some := tuple(one for one in group if one in is_chosen):
                members[n] = some
    return members
