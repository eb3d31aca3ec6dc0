"""What a request needs to be answered by a route: a role, and perhaps the whole library.

Each route declares it beside its function. A route that does not cannot be added to an app.

    @router.get("/jobs")
    @requires("read", within=True)
    async def list_jobs(here: Here) -> JSONResponse: ...
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal, NamedTuple, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from search.api.auth import GRANT, Grant
from search.api.problems import Problem
from search.records.tokens import ROLES, Role

F = TypeVar("F", bound=Callable[..., Any])


class Needs(NamedTuple):
    """role: the least role, or `open` for everybody. within: whether a token with collections may
    send the request, since the answer holds nothing of other collections."""

    role: Role | Literal["open"]
    within: bool = False

    def check(self, grant: Grant) -> None:
        """Raise Problem 403 for a request that may not be answered."""
        if self.role == "open":
            return
        if ROLES.index(grant.role) < ROLES.index(self.role):
            reason = f"this needs a token with the role {self.role}, and yours has {grant.role}"
            raise Problem(403, reason, code="role_missing")
        if grant.collections is not None and not self.within:
            reason = "this needs a token for the whole library, and yours is for some collections"
            raise Problem(403, reason, code="role_missing")


def requires(role: Role | Literal["open"], within: bool = False) -> Callable[[F], F]:
    """Declare what requests of a route need. See `Needs`."""

    def declare(endpoint: F) -> F:
        endpoint.needs = Needs(role, within)  # type: ignore[attr-defined]
        return endpoint

    return declare


def grant_of(request: Request) -> Grant:
    """Return what a request may do. Not for a route that is open."""
    grant: Grant = getattr(request.state, GRANT)
    return grant


class GuardedRoute(APIRoute):
    """A route that refuses a request before its body is read, unless it has what it needs."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Raises TypeError for a function without a declaration."""
        needs = getattr(endpoint, "needs", None)
        if not isinstance(needs, Needs):
            raise TypeError(f"the route {path} does not declare who may use it; see `requires`")
        self.needs = needs
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        answer = super().get_route_handler()

        async def check_and_answer(request: Request) -> Response:
            if self.needs.role != "open":
                self.needs.check(grant_of(request))
            return await answer(request)

        return check_and_answer


def make_router(**options: Any) -> APIRouter:
    """Make a router of guarded routes. options: as of `APIRouter`."""
    return APIRouter(route_class=GuardedRoute, **options)
