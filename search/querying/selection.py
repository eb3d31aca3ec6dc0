"""What a query selects by its condition, before anything is compared."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import replace
from functools import cached_property

from search.catalog.listing import Criterion, PictureList
from search.catalog.reads import CatalogReader
from search.catalog.writes import Space
from search.embedders.models import Models
from search.embedders.vocabulary import LabelEmbedder, Vocabulary
from search.errors import ModelError
from search.querying.conditions import Condition, join_conditions
from search.querying.fields import Scope, compile_condition
from search.querying.parser import parse_condition
from search.querying.values import find_today
from search.types import RowIds


class Selection:
    """The pictures that hold a condition. Reads the catalog."""

    def __init__(
        self,
        reader: CatalogReader,
        models: Models,
        where: Sequence[str | Condition],
        space: Space | None,
    ) -> None:
        """where: conditions that all hold. space: whose labels are compared.

        Raises ConditionError.
        """
        self._models, self._space = models, space
        self._reader, self._list = reader, PictureList(reader)
        self.scope = Scope(reader, space, lambda: self._vocabulary)
        self.condition = join_conditions(read_where(where))
        self.criterion: Criterion | None = (
            compile_condition(self.condition, self.scope) if self.condition else None
        )
        """The criterion on `pictures`; None if all are selected."""
        space_id = space.id if space else None
        self.key: Hashable = self.condition, reader.part, space_id, find_today()
        """What tells the selection from others, in one state of the catalog."""

    def choose(self, row_ids: Collection[int]) -> set[int]:
        """Return those of some pictures that are selected."""
        if self.condition is None:
            return set(row_ids)
        if (selected := self.find_row_ids()) is not None:
            import numpy as np  # slow to import, and a command may need no vectors

            some = np.fromiter(row_ids, np.int64, len(row_ids))
            places = np.searchsorted(selected, some).clip(max=len(selected) - 1)
            return set(some[selected[places] == some].tolist()) if len(selected) else set()
        few = compile_condition(self.condition, replace(self.scope, few=True))
        return self._list.choose(few, row_ids)

    def find_row_ids(self) -> RowIds | None:
        """Return what `row_ids` does if that is in memory, else None."""
        row_ids: RowIds | None = self._reader.database.answers.find(("selected", self.key))
        return row_ids

    def row_ids(self) -> RowIds:
        """Return the selected pictures, (n,) row ids, ascending; from memory if it has them."""
        return self._reader.database.answers.get_row_ids(
            ("selected", self.key), lambda: self._list.row_ids(self.criterion)
        )

    @cached_property
    def _vocabulary(self) -> Vocabulary | None:
        if self._space is None:
            return None
        try:
            embedder = self._models.open_version(self._space.name, self._space.fingerprint)
        except ModelError:  # labels of weights that are gone
            return None
        return embedder.vocabulary() if isinstance(embedder, LabelEmbedder) else None


def read_where(where: Sequence[str | Condition]) -> list[Condition]:
    """Return conditions, parsed where they are text. Raises ConditionError."""
    return [parse_condition(one) if isinstance(one, str) else one for one in where]
