"""Groups of things of which any two are linked."""

from __future__ import annotations

from collections.abc import Iterable


def link_completely(links: Iterable[tuple[int, int, float]]) -> list[tuple[list[int], float]]:
    """Return groups of two or more of which any two are linked, and the least score in each.

    links: pairs with their scores, each pair once. Complete linkage: the strongest link first, and
    two groups become one when each of one is linked with each of the other. So a chain of strangers
    (a like b, b like c, a unlike c) never is a group. Of links that exclude each other, the
    stronger one counts, and of equal ones that with the lower numbers.
    """
    group_of = dict[int, int]()
    groups = dict[int, list[int]]()
    least = dict[int, float]()
    counts = dict[int, dict[int, int]]()  # links between two groups that were seen so far
    for one, other, score in sorted(links, key=lambda link: (-link[2], link[0], link[1])):
        for member in (one, other):
            if member not in group_of:
                group_of[member] = member
                groups[member], counts[member] = [member], {}
        a, b = group_of[one], group_of[other]
        if a == b:
            continue
        count = counts[a].get(b, 0) + 1
        if count < len(groups[a]) * len(groups[b]):
            counts[a][b] = counts[b][a] = count
            continue
        if len(counts[a]) + len(groups[a]) < len(counts[b]) + len(groups[b]):
            a, b = b, a
        counts[a].pop(b, None)
        counts[b].pop(a, None)
        for third, number in counts.pop(b).items():
            del counts[third][b]
            total = counts[a].get(third, 0) + number
            counts[a][third] = counts[third][a] = total
        for member in groups[b]:
            group_of[member] = a
        groups[a] += groups.pop(b)
        least[a] = score
        least.pop(b, None)
    return [(sorted(groups[key]), score) for key, score in least.items()]
