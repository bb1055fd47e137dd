"""What a fitted LaTFEstimator answers at points of its latent space: samples, densities, states."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from latflow._validation import (
    check_count,
    check_latent_points,
    check_option,
    check_temperature,
)
from latflow.estimators import seam
from latflow.nn.model import LatentModel
from latflow.units import Units

__all__ = ["LatentSpaceMixin"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class LatentSpaceMixin:
    """Samples, densities, states and paths in the latent space of a LaTFEstimator."""

    model_: LatentModel
    n_components: int
    reference_temperature_: float | None
    temperatures_: FloatArray
    populations_: FloatArray
    n_states_: int
    boltzmann_constant: float

    @property
    def units_(self) -> Units:
        """The units of temperatures and energies."""
        return Units(self.boltzmann_constant)

    def sample(
        self,
        n_samples: int = 1,
        temperature: float | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> FloatArray:
        """Draw collective variables from the equilibrium at one temperature.

        Parameters
        ----------
        n_samples : int, default=1
        temperature : float, optional
            The reference temperature if not given.
        random_state : int, RandomState or None, default=None

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Distributed as ``transform(X)`` at that temperature.
        """
        check_is_fitted(self)
        n = check_count(n_samples, "n_samples")
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        return seam.draw(self.model_, self.model_.base(self._reduced(temperature)), n, seed)

    def log_density(self, Z: ArrayLike, temperature: ArrayLike | None = None) -> FloatArray:
        """Return the normalised log-density at points of the latent space.

        Parameters
        ----------
        Z : array_like of shape (n_points, n_components)
        temperature : float or array_like of shape (n_points,), optional

        Returns
        -------
        ndarray of shape (n_points,)
        """
        check_is_fitted(self)
        return self._log_density(check_latent_points(Z, self.n_components), temperature)

    def free_energy(
        self, Z: ArrayLike, temperature: float | None = None, *, unit: str = "energy"
    ) -> FloatArray:
        """Return the free energy -k_B T log p of points of the latent space.

        Parameters
        ----------
        Z : array_like of shape (..., n_components)
            Points, or a grid of them.
        temperature : float, optional
            The reference temperature if not given.
        unit : {"energy", "kT"}, default="energy"
            "energy" is kJ/mol with the default `boltzmann_constant`.

        Returns
        -------
        ndarray of shape (...)
            Its minimum over these points is 0.
        """
        check_option(unit, "unit", ("energy", "kT"))
        points = np.asarray(Z, dtype=np.float64)
        flat = points.reshape(-1, points.shape[-1]) if points.ndim else points
        energy = -self.log_density(flat, temperature).reshape(points.shape[:-1])
        energy -= energy.min()
        if unit == "energy":
            energy *= self.units_.kt(temperature or self.reference_temperature_ or 1.0)
        return np.asarray(energy)

    def state_populations(self, temperatures: ArrayLike | None = None) -> pd.DataFrame:
        """Return the population of every metastable state at simulated temperatures.

        Parameters
        ----------
        temperatures : float or array_like, optional
            Simulated temperatures; all of them if not given.

        Returns
        -------
        DataFrame
            Index (`temperature`, `state`), columns `population` and `standard_error`, which is
            NaN: this estimator keeps no frames to tell it from.

        Raises
        ------
        ValueError
            For a temperature that was not simulated.
        """
        check_is_fitted(self)
        simulated = self.temperatures_ if len(self.temperatures_) else np.array([np.nan])
        wanted = simulated if temperatures is None else np.ravel(np.asarray(temperatures, float))
        rows = [int(np.argmin(np.abs(simulated - t))) for t in wanted]
        for t, row in zip(wanted, rows, strict=True):
            if temperatures is not None and not np.isclose(t, simulated[row]):
                names = ", ".join(f"{x:g}" for x in self.temperatures_) or "none was given to fit"
                raise ValueError(
                    f"Expected simulated temperatures ({names}), got {t:g}: others need "
                    "TemperatureExtrapolator and simulations at two temperatures."
                )
        index = pd.MultiIndex.from_product(
            [wanted, range(self.n_states_)], names=["temperature", "state"]
        )
        values = self.populations_[rows].ravel()
        return pd.DataFrame({"population": values, "standard_error": np.nan}, index=index)

    def predict_latent(self, Z: ArrayLike) -> IntArray:
        """Return the state of points of the latent space, so of samples; shape (n_points,)."""
        check_is_fitted(self)
        return seam.states(self.model_, check_latent_points(Z, self.n_components))

    def predict_proba_latent(self, Z: ArrayLike) -> FloatArray:
        """Return each state's probability one lagtime later for points of the latent space."""
        check_is_fitted(self)
        return self._states(check_latent_points(Z, self.n_components))

    def to_prior(self, Z: ArrayLike) -> FloatArray:
        """Map points of the latent space to the base's space: u = f(z)."""
        check_is_fitted(self)
        return seam.move(self.model_, check_latent_points(Z, self.n_components), inverse=False)

    def from_prior(self, U: ArrayLike) -> FloatArray:
        """Map points of the base's space to the latent space: the inverse of :meth:`to_prior`."""
        check_is_fitted(self)
        return seam.move(self.model_, check_latent_points(U, self.n_components, "U"), inverse=True)

    def interpolate(
        self, z_a: ArrayLike, z_b: ArrayLike, n: int = 50, temperature: float | None = None
    ) -> FloatArray:
        """Return a path from `z_a` to `z_b` through the populated region.

        In the base's space the direction turns at a constant rate and the radius runs evenly
        through the quantiles of its law at `temperature`, so that no point leaves the shell where
        the base has its mass. In one dimension the path is straight there.

        Parameters
        ----------
        z_a, z_b : array_like of shape (n_components,)
        n : int, default=50
            Number of points, both ends included; at least 2.
        temperature : float, optional

        Returns
        -------
        ndarray of shape (n, n_components)
        """
        check_count(n, "n", minimum=2)
        check_is_fitted(self)
        ends = check_latent_points([np.ravel(z_a), np.ravel(z_b)], self.n_components)
        return seam.path(self.model_, self.model_.base(self._reduced(temperature)), ends, n)

    def _states(self, z: FloatArray) -> FloatArray:
        return seam.state_probabilities(self.model_, z)

    def _log_density(self, z: FloatArray, temperature: ArrayLike | None) -> FloatArray:
        return seam.log_density(self.model_, z, self._reduced(temperature, len(z)))

    def _reduced(self, temperature: ArrayLike | None, n_rows: int | None = None) -> FloatArray:
        """Return T / T_ref for one temperature, or for one for each of `n_rows` rows."""
        if temperature is None:
            return np.ones(())
        if self.reference_temperature_ is None:
            raise ValueError(
                "Expected no `temperature`: fit was given none, so the model knows one unnamed "
                "temperature only. Pass `temperature` to fit."
            )
        values = np.asarray(temperature, dtype=np.float64)
        if values.ndim and values.shape != (n_rows,):
            wanted = "one number" if n_rows is None else f"one number or shape ({n_rows},)"
            raise ValueError(f"Expected `temperature` to be {wanted}, got shape {values.shape}.")
        for value in np.unique(values):
            check_temperature(float(value))
        return np.asarray(values / self.reference_temperature_)
