"""How frames keep their order: lists, stacked arrays, lagged pairs, blocks, folds, adapters.

Two conventions of input mean the same: a list of arrays, one per trajectory, or one stacked array
whose rows carry metadata (`trajectory`, `frame`, `temperature`, `weights`, `initial_states`).
"""

from latflow.trajectories.adapters import FromDeeptime, PerFrame
from latflow.trajectories.blocks import held_out_rows, independent_blocks
from latflow.trajectories.frames import (
    FRAME_METADATA,
    Frames,
    check_rows,
    gather_frames,
    read_index,
    stack,
)
from latflow.trajectories.lists import TrajectoryListMixin, is_trajectory_list, spread
from latflow.trajectories.pairs import lagged_pairs, time_blocks, time_segments
from latflow.trajectories.rows import (
    Rows,
    ahead,
    in_blocks,
    is_on_disk,
    return_memory,
    rows_at_once,
)
from latflow.trajectories.splitters import TrajectoryKFold
from latflow.trajectories.windows import pool_rows, pools

__all__ = [
    "FRAME_METADATA",
    "Frames",
    "FromDeeptime",
    "PerFrame",
    "Rows",
    "TrajectoryKFold",
    "TrajectoryListMixin",
    "ahead",
    "check_rows",
    "gather_frames",
    "held_out_rows",
    "independent_blocks",
    "in_blocks",
    "is_on_disk",
    "is_trajectory_list",
    "lagged_pairs",
    "pool_rows",
    "pools",
    "read_index",
    "return_memory",
    "rows_at_once",
    "spread",
    "stack",
    "time_blocks",
    "time_segments",
]
