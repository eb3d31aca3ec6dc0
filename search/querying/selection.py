"""What a query selects by its condition, before anything is compared."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
        self._list = PictureList(reader)
        self.scope = Scope(reader, space, lambda: self._vocabulary)
        self.condition = join_conditions(read_where(where))
        self.criterion: Criterion | None = (
            compile_condition(self.condition, self.scope) if self.condition else None
        )
        """The criterion on `pictures`; None if all are selected."""

    def choose(self, row_ids: Collection[int]) -> set[int]:
        """Return those of some pictures that are selected."""
        if self.criterion is None:
            return set(row_ids)
        return self._list.choose(self.criterion, row_ids)

    def list_searchable(self, space: Space) -> RowIds:
        """Return the selected pictures that have a vector, (n,) row ids."""
        return self._list.row_ids(self.criterion, space)

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
