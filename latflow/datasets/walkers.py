"""What simulators of many independent walkers have in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from latflow._typing import FloatArray
from latflow._validation import check_count

Floats = FloatArray | NDArray[np.float32]

FRAMES_PER_WALKER = 20


def check_sizes(n_frames: object, n_walkers: object) -> tuple[int, int]:
    """Return n_frames, checked, and no more walkers than leave each of them enough frames."""
    frames, walkers = check_count(n_frames, "n_frames"), check_count(n_walkers, "n_walkers")
    return frames, max(1, min(walkers, frames // FRAMES_PER_WALKER))


def check_not_diverged(positions: Floats, bound: float, time_step: float) -> None:
    """Raise where a coordinate left the range of +-bound."""
    # written so that NaN fails too
    if not (np.abs(positions) <= bound).all():
        raise ValueError(
            f"Expected `time_step` small enough for stable dynamics, got {time_step!r}, "
            f"which is too large: a coordinate left the range of +-{bound:.3g}."
        )


def split_walkers(frames: Floats, n_frames: int) -> list[FloatArray]:
    """Return one float64 array per walker from (time, walker, ...), n_frames in total."""
    n_walkers = frames.shape[1]
    lengths = [n_frames // n_walkers + (w < n_frames % n_walkers) for w in range(n_walkers)]
    return [frames[:n, w].astype(np.float64) for w, n in enumerate(lengths)]
