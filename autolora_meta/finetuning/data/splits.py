"""Seeded, stratified, disjoint splits (design.md, invariant 3)."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from autolora_meta.errors import InputError


def row_counts(wanted: Mapping[str, int | float | None], available: int) -> dict[str, int]:
    """Return how many rows each split gets of those that there are.

    Args:
        wanted: for each split a number, a share below 1 of `available`, or None: what the others
            leave, in equal parts where several are None.
        available: rows to cut from.

    Raises:
        InputError: more rows are asked for than there are, or nothing is left for a split.

    >>> row_counts({"train": 200, "validation": 200, "test": None}, 2365)
    {'train': 200, 'validation': 200, 'test': 1965}
    """
    counts = {
        split: number if isinstance(number, int) else int(number * available)
        for split, number in wanted.items()
        if number is not None
    }
    rest = [split for split, number in wanted.items() if number is None]
    left = available - sum(counts.values())
    for i, split in enumerate(rest):
        counts[split] = (left + i) // len(rest)  # differ by one at most, and add up to `left`
    empty = [split for split in wanted if counts[split] < 1]
    if left < 0 or empty:
        asked = ", ".join(
            f"{split} {'the rest' if n is None else n}" for split, n in wanted.items()
        )
        raise InputError(
            f"{available} rows are there, too few for data.{{train,validation,test}}_rows: {asked}"
            "; ask for fewer, or give more data"
        )
    return {split: counts[split] for split in wanted}


def stratified(
    labels: Sequence[int], counts: Mapping[str, int], names: Sequence[str], seed: int
) -> dict[str, list[int]]:
    """Cut rows into disjoint splits, each with the classes in the proportions of the whole.

    Every class has at least one row in every split.

    Args:
        labels: class of each row. (n,)
        counts: rows for each split, in the order in which they are cut; their sum is at most n.
        names: names of the classes, for messages.
        seed: the same seed gives the same splits.

    Returns:
        For each split the indices of its rows, in shuffled order.

    Raises:
        InputError: a class has too few rows for one in each split, or a split has fewer rows than
            there are classes.
    """
    generator = np.random.default_rng(seed)
    of_class = np.asarray(labels)
    present = np.unique(of_class)
    pools = {int(c): generator.permutation(np.flatnonzero(of_class == c)) for c in present}
    for c, pool in pools.items():
        if len(pool) < len(counts):
            raise InputError(
                f"class '{names[c]}' has {len(pool)} rows, too few for one in each of "
                f"{', '.join(counts)}; give more rows of it, merge it with another, or take it out"
            )
    for split, count in counts.items():
        if count < len(pools):
            raise InputError(
                f"data.{split}_rows is {count}, fewer than the {len(pools)} classes; each class "
                "needs a row there"
            )
    splits: dict[str, list[int]] = {}
    for later, (split, count) in zip(range(len(counts) - 1, -1, -1), counts.items(), strict=True):
        sizes = np.array([len(pool) for pool in pools.values()])
        taken = _shares(sizes, count, most=sizes - later)
        parts = []
        for (c, pool), share in zip(list(pools.items()), taken, strict=True):
            parts.append(pool[:share])
            pools[c] = pool[share:]
        splits[split] = generator.permutation(np.concatenate(parts)).tolist()
    return splits


def _shares(sizes: np.ndarray, count: int, most: np.ndarray) -> np.ndarray:
    """Return whole numbers that add up to `count`, near its shares in `sizes`. (classes,)

    Each lies between 1 and `most`, which leaves something for the splits that are cut later.
    """
    exact = count * sizes / sizes.sum()
    shares = np.clip(np.floor(exact).astype(int), 1, most)
    while (gap := count - shares.sum()) != 0:
        step = 1 if gap > 0 else -1
        movable = shares < most if gap > 0 else shares > 1
        if not movable.any():
            raise InputError(
                f"{count} rows cannot be cut with a row of every class left for the other splits; "
                "ask for fewer rows"
            )
        need = np.where(movable, step * (exact - shares), -np.inf)
        shares[np.argmax(need)] += step
    return shares


def shuffled(rows: int, counts: Mapping[str, int], seed: int) -> dict[str, list[int]]:
    """Cut rows that have no classes into disjoint splits.

    Args:
        rows: how many there are.
        counts: rows for each split; their sum is at most `rows`.
        seed: the same seed gives the same splits.

    Returns:
        For each split the indices of its rows, in shuffled order.
    """
    order = np.random.default_rng(seed).permutation(rows).tolist()
    ends = np.cumsum(list(counts.values())).tolist()
    return {
        split: order[end - counts[split] : end] for split, end in zip(counts, ends, strict=True)
    }


def grouped(
    groups: Sequence[Hashable], counts: Mapping[str, int], seed: int
) -> dict[str, list[int]]:
    """Cut rows into disjoint splits, rows of one group on one side.

    Groups are dealt in random order. A split takes whole groups until it has the rows that are
    asked for, so it has more by less than a group; each that follows is left one group at least.

    Args:
        groups: group of each row; a row with None is a group of its own. (n,)
        counts: rows for each split, in the order in which they are dealt.
        seed: the same seed gives the same splits.

    Returns:
        For each split the indices of its rows, in shuffled order.

    Raises:
        InputError: the groups are too few for one in each split.

    >>> cut = grouped(["a", "a", "b", "c"], {"test": 1, "train": 3}, seed=0)
    >>> sorted(cut["test"] + cut["train"])
    [0, 1, 2, 3]
    """
    members: dict[Hashable, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(("row", i) if group is None else ("group", group), []).append(i)
    if len(members) < len(counts):
        raise InputError(
            f"{len(groups)} rows are in {len(members)} groups, too few for one in each of "
            f"{', '.join(counts)}; choose another data.group"
        )
    generator = np.random.default_rng(seed)
    left = [list(members.values())[i] for i in generator.permutation(len(members))]
    parts: dict[str, list[int]] = {}
    for later, (split, count) in zip(range(len(counts) - 1, -1, -1), counts.items(), strict=True):
        taken = left.pop()
        while len(taken) < count and len(left) > later:
            taken = taken + left.pop()
        parts[split] = generator.permutation(taken).tolist()
    return parts
