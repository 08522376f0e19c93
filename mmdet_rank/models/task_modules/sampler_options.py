"""The options that samplers are given without knowing them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable

#: What MMDetection hands to every sampler, and what its base configs leave behind where a config
#: overrides the type of a sampler alone.
COMMON = ("num", "pos_fraction", "neg_pos_ub", "add_gt_as_proposals", "context")


def refuse_unknown_options(
    sampler: type, given: Iterable[str], others: Iterable[str] = COMMON
) -> None:
    """Refuse options that a sampler has no use for: MMDetection's own take any name, and so typos.

    Args:
        sampler: Class of the sampler; its own arguments are known.
        given: Names that are none of its arguments.
        others: Names that it is given all the same.

    Raises:
        TypeError: If a name is unknown.

    Example:
        >>> from mmdet.models.task_modules.samplers import PseudoSampler
        >>> refuse_unknown_options(PseudoSampler, ["num", "numb"])
        Traceback (most recent call last):
        TypeError: Expected options of PseudoSampler, but got 'numb'; do you mean num?
    """
    arguments = inspect.signature(sampler).parameters.values()
    named = [each.name for each in arguments if each.kind is each.POSITIONAL_OR_KEYWORD]
    known = list(dict.fromkeys([*named, *others]))
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"do you mean {close[0]}?"
                if close
                else f"it has {', '.join(known)}. Write _delete_=True to drop a base config's."
            )
            raise TypeError(f"Expected options of {sampler.__name__}, but got {name!r}; {hint}")
