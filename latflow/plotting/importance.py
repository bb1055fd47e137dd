"""Features by how much they matter."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from latflow._validation import check_count, check_option, check_table
from latflow.importance import ALL, feature_importance
from latflow.plotting import style
from latflow.plotting.style import PALETTE, Axes, Style

MEASURES = {
    "loss": "loss of VAMP-2 when permuted",
    "gradient": "root mean square gradient (spreads)",
}
ROW = 0.24  # inches a feature


@dataclass(eq=False, repr=False)
class FeatureImportanceDisplay:
    """The features that matter most to a collective variable or a state, as bars.

    Build it with :meth:`from_estimator`, or from a table.

    Parameters
    ----------
    importance : DataFrame
        As :func:`latflow.importance.feature_importance` returns it.
    target : str, default="all CVs"
        What the features matter to: "all CVs", "CV 1", ..., "state 0", ...
    by : {"loss", "gradient"}, default="loss"
        Errors are drawn for the loss, which has some.
    n_features : int, default=15
        How many are drawn, the largest first.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : Axes
    bars_ : BarContainer
        From the largest down.
    features : list of str
        Names, in the order of the bars.

    Examples
    --------
    >>> rows = [("CV 1", "x0", 0.5, 0.4, 0.01), ("CV 1", "x1", 1.0, 0.6, 0.01)]
    >>> columns = ["target", "feature", "gradient", "loss", "standard_error"]
    >>> table = pd.DataFrame(rows, columns=columns).set_index(["target", "feature"])
    >>> FeatureImportanceDisplay(table, target="CV 1").features
    ['x1', 'x0']
    """

    importance: pd.DataFrame
    _: KW_ONLY
    target: str = ALL
    by: str = "loss"
    n_features: int = 15

    def __post_init__(self) -> None:
        columns = ["gradient", "loss", "standard_error"]
        table = check_table(self.importance, "importance", ["target", "feature"], columns)
        check_option(self.target, "target", dict.fromkeys(table.index.get_level_values("target")))
        check_option(self.by, "by", MEASURES)
        check_count(self.n_features, "n_features")
        rows = style.rows_at(table, target=self.target)
        rows = rows.sort_values(self.by, ascending=False, kind="stable")
        self._rows = rows.head(self.n_features)

    @property
    def features(self) -> list[str]:
        """Names of the features that are drawn, from the largest down."""
        return [str(name) for name in self._rows.index]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: object,
        *,
        target: str = ALL,
        by: str = "loss",
        n_features: int = 15,
        ax: Axes | None = None,
        importance: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Compute how much features matter to a fitted model and draw it.

        Parameters
        ----------
        estimator : estimator with `transform`
            Fitted.
        X : list of array_like of shape (n_frames_i, n_features), or array_like
        target, by, n_features
            As for the class.
        ax : Axes, optional
        importance : dict, optional
            Arguments of :func:`latflow.importance.feature_importance`, as the metadata of X.
        **kwargs
            For :meth:`plot`.

        Returns
        -------
        FeatureImportanceDisplay
        """
        table = feature_importance(estimator, X, **(importance or {}))
        return cls(table, target=target, by=by, n_features=n_features).plot(ax=ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the bars.

        Parameters
        ----------
        ax : Axes, optional
            A new figure if not given.
        **kwargs
            For ``Axes.barh``.

        Returns
        -------
        self
        """
        names = self.features
        self.ax_ = style.panel(ax, size=(5.2, 1.0 + ROW * len(names)))
        self.figure_ = self.ax_.figure
        places = np.arange(len(names))
        options: Style = {"color": PALETTE[0], "ecolor": "0.3", "height": 0.7} | kwargs
        if self.by == "loss":
            options.setdefault("xerr", self._rows["standard_error"].to_numpy(float))
        self.bars_ = self.ax_.barh(places, self._rows[self.by].to_numpy(float), **options)
        self.ax_.set_yticks(places, names)
        self.ax_.invert_yaxis()
        self.ax_.set(xlabel=MEASURES[self.by], title=self.target)
        return self
