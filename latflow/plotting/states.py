"""Metastable states among the collective variables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from latflow._typing import FloatArray, IntArray
from latflow._validation import check_count, check_weights, import_extra
from latflow.plotting import style
from latflow.plotting.style import Axes, Model, Style
from latflow.trajectories import is_trajectory_list, per_frame

N_FRAMES = 5000
N_BINS = 80
TINT = 0.25


class StatesDisplay:
    """Frames in the plane of two collective variables, coloured by metastable state.

    Behind them, lightly tinted, lie the regions of the latent space that belong to each state; far
    from all frames they are the decoder's extrapolation. For one collective variable, stacked
    histograms of the states instead: together the density of the frames.

    Build it with :meth:`from_estimator`, or from any collective variables and states.

    Parameters
    ----------
    z : array_like of shape (n_frames, n_components)
        Collective variables; one or two of them.
    states : array_like of int of shape (n_frames,)
    weights : array_like of shape (n_frames,), optional
        Statistical weight of each frame, for the populations (and histograms); equal if not given.
    grid : sequence of two ndarrays of shape (n_grid,), optional
        Points along each collective variable, evenly spaced.
    regions : array_like of int of shape (n_grid, n_grid), optional
        State at each point of the grid, the first variable first; goes with `grid`.
    n_frames : int, default=5000
        Most points drawn, taken evenly from the frames. Populations and histograms are of all.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : Axes
    points_ : list of PathCollection
        One per state, for two collective variables.
    regions_ : QuadMesh or None
    histograms_ : list of StepPatch
        One per state, for one collective variable.
    legend_ : Legend
    populations : ndarray of shape (n_states,)
        Weighted fraction of the frames in each state.

    Examples
    --------
    >>> StatesDisplay([[0.0, 1.0], [2.0, 3.0]], [0, 1], weights=[3, 1]).populations
    array([0.75, 0.25])
    """

    def __init__(
        self,
        z: ArrayLike,
        states: ArrayLike,
        *,
        weights: ArrayLike | None = None,
        grid: Sequence[FloatArray] | None = None,
        regions: ArrayLike | None = None,
        n_frames: int = N_FRAMES,
    ) -> None:
        self.z = np.asarray(z, dtype=np.float64)
        if self.z.ndim != 2 or self.z.shape[1] not in (1, 2) or len(self.z) == 0:
            raise ValueError(
                f"Expected `z` of shape (n_frames, 1) or (n_frames, 2), got {self.z.shape}."
            )
        self.states = _check_states(states, len(self.z))
        self.weights = check_weights(weights, len(self.z))
        if (grid is None) != (regions is None):
            raise ValueError("Expected `grid` and `regions` together, got only one of them.")
        self.grid = grid
        self.regions = None if regions is None else np.asarray(regions, dtype=np.int64)
        self.n_frames = check_count(n_frames, "n_frames")
        n_regions = 0 if self.regions is None else 1 + int(self.regions.max())
        counts = np.bincount(self.states, self.weights, minlength=n_regions)
        self.populations = counts / counts.sum()

    @classmethod
    def from_estimator(
        cls,
        estimator: Model,
        X: ArrayLike,
        *,
        weights: ArrayLike | None = None,
        n_frames: int = N_FRAMES,
        n_grid: int = 200,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Compute collective variables and states of frames and draw them.

        Parameters
        ----------
        estimator : LaTFEstimator or TemperatureExtrapolator
            Fitted, with one or two components.
        X : list of array_like of shape (n_frames_i, n_features), or array_like of shape \
(n_frames, n_features)
        weights : list or array_like, optional
            Statistical weight of each frame, as ``TemperatureExtrapolator.frame_weights`` returns
            them: a list for a list, an array for an array.
        n_frames : int, default=5000
            Most points drawn.
        n_grid : int, default=200
            Points along each collective variable where the regions are computed, over the frames
            and a small margin.
        ax, **kwargs
            For :meth:`plot`.

        Returns
        -------
        StatesDisplay

        Raises
        ------
        ValueError
            If the estimator has more than two components, or an argument does not fit.
        """
        style.check_drawable(estimator)
        z, states = estimator.transform(X), estimator.predict(X)
        if is_trajectory_list(X):
            if weights is not None:
                weights = per_frame(weights, [len(part) for part in z], "weights")
            z, states = np.concatenate(z), np.concatenate(states)
        z = np.asarray(z, dtype=np.float64)
        grid = regions = None
        if z.shape[1] == 2:
            grid = style.grid_over(z, n_grid)
            points = style.mesh_of(grid)
            regions = estimator.predict_latent(points.reshape(-1, 2)).reshape(points.shape[:2])
        display = cls(z, states, weights=weights, grid=grid, regions=regions, n_frames=n_frames)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the states.

        Parameters
        ----------
        ax : Axes, optional
            A new figure if not given.
        **kwargs
            For ``Axes.scatter`` (two collective variables) or ``Axes.stairs`` (one).

        Returns
        -------
        self
        """
        self.ax_ = style.panel(ax, size=(5.2, 3.8))
        self.figure_ = self.ax_.figure
        self.points_: list[Any] = []
        self.histograms_: list[Any] = []
        self.regions_: Any = None
        self.ax_.set_xlabel("CV 1")
        if self.z.shape[1] == 2:
            self._draw_regions()
            self._draw_points(kwargs)
        else:
            self._draw_histograms(kwargs)
        self.legend_ = style.legend_right(self.ax_)
        for handle in filter(None, self.legend_.legend_handles if self.points_ else []):
            handle.set(sizes=[36], alpha=1.0)
        return self

    def _looks(self, **options: Any) -> Iterator[tuple[int, Style]]:
        """Go through the states with options of their artists: colour, name and others."""
        for k, (p, colour) in enumerate(zip(self.populations, style.colours(), strict=False)):
            yield k, {"color": colour, "label": f"state {k} ({100 * p:.1f} %)"} | options

    def _draw_regions(self) -> None:
        if self.regions is None or self.grid is None:
            return
        colors = import_extra("matplotlib.colors", "plot")
        n_states = len(self.populations)
        pure = [colors.to_rgb(colour) for colour in islice(style.colours(), n_states)]
        self.regions_ = self.ax_.pcolormesh(
            *self.grid,
            self.regions.T,
            cmap=colors.ListedColormap(1 - TINT * (1 - np.array(pure))),
            vmin=-0.5,
            vmax=n_states - 0.5,
            shading="nearest",
        )

    def _draw_points(self, kwargs: Style) -> None:
        n = len(self.z)
        rows = np.linspace(0, n - 1, min(n, self.n_frames)).astype(np.int64)
        z, states = self.z[rows], self.states[rows]
        for state, options in self._looks(**({"s": 4, "alpha": 0.7, "lw": 0} | kwargs)):
            self.points_.append(self.ax_.scatter(*z[states == state].T, **options))
        self.ax_.set_ylabel("CV 2")

    def _draw_histograms(self, kwargs: Style) -> None:
        z = self.z[:, 0]
        edges = np.histogram_bin_edges(z, N_BINS)
        scale = self.weights.sum() * (edges[1] - edges[0])
        below = np.zeros(N_BINS)
        for state, options in self._looks(**({"fill": True} | kwargs)):
            weights = np.where(self.states == state, self.weights, 0.0)
            above = below + np.histogram(z, edges, weights=weights)[0] / scale
            self.histograms_.append(self.ax_.stairs(above, edges, baseline=below, **options))
            below = above
        self.ax_.set(ylabel="density of the frames", ylim=(0, None))


def _check_states(states: ArrayLike, n_frames: int) -> IntArray:
    """Return one state number per frame."""
    array = np.asarray(states)
    if array.shape != (n_frames,) or array.dtype.kind not in "iu" or array.min() < 0:
        raise ValueError(
            f"Expected `states` to be integers >= 0 of shape ({n_frames},), "
            f"got {array.dtype} of shape {array.shape}."
        )
    return array.astype(np.int64)
