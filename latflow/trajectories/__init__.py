"""How frames keep their order: lists, stacked arrays, lagged pairs, blocks, folds, adapters.

Two conventions of input mean the same: a list of arrays, one per trajectory, or one stacked array
whose rows carry metadata (`trajectory`, `frame`, `temperature`, `weights`, `initial_states`).
"""

from latflow.trajectories.adapters import FromDeeptime, PerFrame
from latflow.trajectories.blocks import held_out_rows, independent_blocks
from latflow.trajectories.frames import (
    FRAME_METADATA,
    Frames,
    gather_frames,
    read_index,
    stack,
)
from latflow.trajectories.lists import TrajectoryListMixin, is_trajectory_list, spread
from latflow.trajectories.pairs import lagged_pairs, time_blocks, time_segments
from latflow.trajectories.splitters import TrajectoryKFold

__all__ = [
    "FRAME_METADATA",
    "Frames",
    "FromDeeptime",
    "PerFrame",
    "TrajectoryKFold",
    "TrajectoryListMixin",
    "gather_frames",
    "held_out_rows",
    "independent_blocks",
    "is_trajectory_list",
    "lagged_pairs",
    "read_index",
    "spread",
    "stack",
    "time_blocks",
    "time_segments",
]
