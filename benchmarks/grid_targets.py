"""What the benchmarks of squares and holes share: cost, precision and recall over many pictures, by kind."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magellon.simulation.grids import TargetMatch


@dataclass(frozen=True)
class Found:
    """One picture's answer beside its truth."""

    match: TargetMatch
    kind: np.ndarray
    """(found,): index of the kind that was said."""
    true_kind: np.ndarray
    """(objects,)"""


def summarise(results: Sequence[Found], kinds: Sequence[str]) -> dict[str, float]:
    """Precision and recall over all objects, recall of each kind, the share of kinds said right, and the error of places."""
    right = sum(each.match.right for each in results)
    wrong = sum(each.match.wrong for each in results)
    missed = sum(each.match.missed for each in results)
    summary = {"precision": right / max(right + wrong, 1), "recall": right / max(right + missed, 1)}
    for number, kind in enumerate(kinds):
        asked = [each.match.visible & (each.true_kind == number) for each in results]
        reached = sum(int((each.match.reached & mask).sum()) for each, mask in zip(results, asked, strict=True))
        summary[f"recall of {kind}"] = reached / max(sum(int(mask.sum()) for mask in asked), 1)
    pairs = [(each.kind[each.match.true >= 0], each.true_kind[each.match.true[each.match.true >= 0]]) for each in results]
    said, true = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    summary["kinds right"] = float(np.mean(said == true)) if len(true) else 0.0
    good = kinds.index("good")
    summary["good among those called good"] = float(np.mean(true[said == good] == good)) if np.any(said == good) else 0.0
    errors = np.concatenate([each.match.error for each in results])
    summary["place error (sizes)"] = float(np.nanmedian(errors)) if np.isfinite(errors).any() else 0.0
    return summary
