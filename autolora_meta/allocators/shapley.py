"""Shapley values of a game, estimated from orders in which its players enter."""

from collections.abc import Callable

import torch
from torch import Tensor


def antithetic_pair(
    value: Callable[[Tensor], float], players: int, draw: torch.Generator
) -> Tensor:
    """Return an unbiased estimate of the Shapley value of each player. float64, (players,)

    phi_i = E_pi [v(B_i + i) - v(B_i)], where B_i are the players before i in a random order pi. One
    order is drawn, and used forwards and backwards, so that who enters early once enters late once:
    exact where v is additive, or where players meet in pairs. The estimates sum to
    v(all) - v(none).

    Args:
        value: v, of a coalition: a mask (players,). It is asked for 2 * players of them.
        players: their number.
        draw: gives the order.

    Source: Castro, Gomez and Tejada 2009; antithetic orders: Mitchell, Cooper, Frank and Holmes,
    2022.

    >>> weights = torch.tensor([1.0, 2.0, 4.0])
    >>> antithetic_pair(lambda s: float(weights[s].sum()), 3, torch.Generator())
    tensor([1., 2., 4.], dtype=torch.float64)
    """
    none = torch.zeros(players, dtype=torch.bool)
    first, last = value(none), value(~none)
    rises = torch.zeros(players, dtype=torch.float64)
    order = torch.randperm(players, generator=draw)
    for each in (order, order.flip(0)):
        members, before = none.clone(), first
        for place, player in enumerate(each.tolist(), start=1):
            members[player] = True
            after = value(members) if place < players else last
            rises[player] += after - before  # v(B_i + i) - v(B_i)
            before = after
    return rises / 2
