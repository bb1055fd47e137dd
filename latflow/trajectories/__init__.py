"""How frames keep their order: lists, stacked arrays, lagged pairs, blocks, folds, adapters.

Two conventions of input mean the same: a list of arrays, one per trajectory, or one stacked array
whose rows carry metadata (`trajectory`, `frame`, `temperature`, `weights`, `initial_states`).
"""

from latflow.trajectories.adapters import FromDeeptime, PerFrame, TrajectoryUnion
from latflow.trajectories.containers import (
    as_container,
    is_trajectory_list,
    list_aware,
    per_frame,
    per_trajectory,
    stack,
)
from latflow.trajectories.features import FeatureList
from latflow.trajectories.frames import (
    FRAME_METADATA,
    SCORE_METADATA,
    Frames,
    check_rows,
    gather_frames,
    read_index,
)
from latflow.trajectories.pairs import lagged_pairs, time_blocks, time_segments
from latflow.trajectories.passes import check_finite, over_blocks
from latflow.trajectories.repeats import warn_of_repeats
from latflow.trajectories.rows import (
    Rows,
    ahead,
    free_memory,
    in_blocks,
    is_on_disk,
    return_memory,
    step_of,
)
from latflow.trajectories.splitters import TrajectoryKFold
from latflow.trajectories.windows import pool_rows, pools

__all__ = [
    "FRAME_METADATA",
    "SCORE_METADATA",
    "FeatureList",
    "Frames",
    "FromDeeptime",
    "PerFrame",
    "Rows",
    "TrajectoryKFold",
    "TrajectoryUnion",
    "ahead",
    "as_container",
    "check_finite",
    "check_rows",
    "free_memory",
    "gather_frames",
    "in_blocks",
    "is_on_disk",
    "is_trajectory_list",
    "lagged_pairs",
    "list_aware",
    "over_blocks",
    "per_frame",
    "per_trajectory",
    "pool_rows",
    "pools",
    "read_index",
    "return_memory",
    "stack",
    "step_of",
    "time_blocks",
    "time_segments",
    "warn_of_repeats",
]
