"""Whole sequences through one recurrent layer in both directions, side by side in one y."""

from collections.abc import Mapping, Sequence
from typing import Any

from lamina.ops._check import Array
from lamina.ops._into import Into, fills
from lamina.ops.add import add
from lamina.ops.sequence import Block, SequenceContext, backward, cell_of, forward


def both_ways(
    op: str,
    x: Any,
    first: Sequence[Any],
    second: Sequence[Any],
    *,
    lengths: Any = None,
    masks: Sequence[Mapping[str, Any]] = ({}, {}),
    keep: bool = True,
    **options: Any,
) -> tuple[tuple[Array, ...], tuple[SequenceContext, SequenceContext]]:
    """`rnn`, `gru` or `lstm`, by name, forwards and in reverse: x as of one of them, y (N,T,2H).

    first, second: of each direction the states and then the weights, as that op takes them; masks: and its
    masks. -> y, the last states of the first direction, those of the second; a context for each.
    """
    cell, found, contexts = cell_of(op, **options), list[Array](), list[SequenceContext]()
    y: Array | None = None
    for block, arrays in enumerate((first, second)):
        *states, w_ih, w_hh, b = arrays
        h0, c0 = (*states, None)[:2]
        given = masks[block]
        some = given.get("recurrent_mask"), given.get("zone_h"), given.get("zone_c")
        y3, h, c, ctx = forward(
            op, cell, x, h0, c0, w_ih, w_hh, b, lengths, block == 1, some, keep, Block(2, block), y
        )
        y, found, contexts = ctx.arrays[-4], [*found, h, *([] if c0 is None else [c])], [*contexts, ctx]
    return (y3, *found), (contexts[0], contexts[1])


@fills
def both_ways_backward(dy: Any, *others: Any, into: Into = (None,) * 11) -> tuple[Any, ...]:
    """dy (N,T,2H), the gradients of the last states, the contexts, and whether dx is needed.

    -> dx or None, and the gradients of all of `first` and of `second`. into: arrays for them in this order;
    None for new ones, as always for dx and those of states.
    """
    *last, contexts, needs_dx = others
    states, found, dxs = len(last) // 2, list[Any](), list[Any]()
    for i, ctx in enumerate(contexts):
        dh, *dc = last[i * states : (i + 1) * states]
        at = 1 + i * (states + 3) + states
        dx, dh0, dc0, *weights = backward(
            "both_ways_backward", dy, dh, dc[0] if dc else None, ctx, needs_dx, into[at : at + 3]
        )
        found += [dh0, *([dc0] if dc else []), *weights]
        dxs.append(dx)
    return None if dxs[0] is None else add(*dxs)[0], *found
