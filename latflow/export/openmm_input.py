"""Collective variables as forces of OpenMM."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import torch

from latflow._typing import FloatArray
from latflow._validation import import_extra
from latflow.export.predicted_bias import PredictedBias
from latflow.export.recipe import Model, Recipe
from latflow.export.torch_module import FromPositions, Traced, atoms_of, with_derivatives
from latflow.featurizers import Featurizer
from latflow.featurizers.topology import check_topology

if TYPE_CHECKING:
    import openmm

__all__ = ["openmm_force", "openmm_variables"]

_known: WeakValueDictionary[str, Variables] = WeakValueDictionary()


def openmm_variables(
    model: Model,
    topology: openmm.app.Topology,
    *,
    featurizer: Featurizer | Mapping[str, Any] | None = None,
) -> list[openmm.PythonForce]:
    """Return collective variables as forces of OpenMM 8.6 or later, one each.

    The "energy" of a force is the variable. Each stands in a BiasVariable of
    ``openmm.app.Metadynamics``, with `lower`, `upper` and `sigmas` of a
    :class:`~latflow.export.PredictedBias`, or in a CustomCVForce.

    Parameters
    ----------
    model : LaTFEstimator, or TemperatureExtrapolator of one
        Fitted on the features of a featurizer.
    topology : openmm.app.Topology
        Of the system to simulate. Features take the nearest image where it has periodic box
        vectors.
    featurizer : Featurizer or mapping, optional
        The fitted featurizer of the model's features, or its manifest. By default the manifest
        that the model kept.

    Returns
    -------
    list of openmm.PythonForce
        Each on the atoms that the features need; together they compute all variables once.

    Raises
    ------
    TypeError
        If the variables are not those of a LaTFEstimator.
    ValueError
        If it is unknown how the features were made, or OpenMM cannot compute them; if `topology`
        has other atoms than the model's; if in a periodic box some features take the nearest image
        and others do not.
    ImportError
        If OpenMM is not installed, or older than 8.6, which has no PythonForce.

    Notes
    -----
    Forces are autograd's, through featurizers written in torch, in double precision. They are
    saved with a system by ``openmm.XmlSerializer``; to read them takes latflow.
    """
    openmm = _openmm()
    recipe = Recipe.of(model, featurizer)
    _check_atoms(topology, recipe)
    vectors = topology.getPeriodicBoxVectors()
    atoms = atoms_of(recipe)
    box = None if vectors is None else np.array(vectors.value_in_unit(openmm.unit.nanometer))
    triclinic = box is not None and bool(np.any(box != np.diag(np.diag(box))))
    module = FromPositions(recipe, atoms, triclinic=triclinic)
    if box is not None and module.mixed:
        raise ValueError(
            "Expected features that all take the nearest image in a periodic box, or none of them, "
            "got some of both: set `periodic` of their featurizers alike."
        )
    periodic = box is not None and module.periodic
    variables = Variables(str(uuid.uuid4()), module, periodic=periodic)
    forces = []
    for k, name in enumerate(recipe.variables):
        force = openmm.PythonForce(Variable(variables, k))
        force.setParticles(atoms)
        force.setUsesPeriodicBoundaryConditions(periodic)
        force.setName(name)
        forces.append(force)
    return forces


def openmm_force(
    model: Model,
    topology: openmm.app.Topology,
    *,
    bias: PredictedBias | None = None,
    featurizer: Featurizer | Mapping[str, Any] | None = None,
) -> openmm.CustomCVForce:
    """Return a force of OpenMM 8.6 or later that holds the collective variables, and a bias.

    Parameters
    ----------
    model : LaTFEstimator, or TemperatureExtrapolator of one
        Fitted on the features of a featurizer.
    topology : openmm.app.Topology
        Of the system to simulate. Features take the nearest image where it has periodic box
        vectors.
    bias : PredictedBias, optional
        Energy of the force: the static bias that flattens a predicted surface. 0 if not given.
    featurizer : Featurizer or mapping, optional
        The fitted featurizer of the model's features, or its manifest. By default the manifest
        that the model kept.

    Returns
    -------
    openmm.CustomCVForce
        Of the variables ``z1``, ``z2``, ...; ``getCollectiveVariableValues(context)`` tells them.

    Raises
    ------
    TypeError, ValueError, ImportError
        As :func:`openmm_variables` does.
    """
    openmm = _openmm()
    forces = openmm_variables(model, topology, featurizer=featurizer)
    names = [force.getName() for force in forces]
    if bias is not None and len(bias.axes) != len(names):
        raise ValueError(
            f"Expected `bias` of the model's {len(names)} variables, got one of {len(bias.axes)}."
        )
    force = openmm.CustomCVForce("0" if bias is None else _energy(bias, names))
    for name, variable in zip(names, forces, strict=True):
        force.addCollectiveVariable(name, variable)
    if bias is not None:
        force.addTabulatedFunction("bias", _table(openmm, bias))
    return force


def _energy(bias: PredictedBias, names: list[str]) -> str:
    """Return the bias on its grid, and walls where the grid ends."""
    sides = list(zip(names, bias.lower, bias.upper, bias.stiffness, strict=True))
    inside = ",".join(f"min(max({z},{low!r}),{high!r})" for z, low, high, _ in sides)
    walls = [
        f"{stiffness / 2!r}*(max(0,{low!r}-{z})^2+max(0,{z}-{high!r})^2)"
        for z, low, high, stiffness in sides
    ]
    return "+".join([f"bias({inside})", *walls])


def _table(openmm: Any, bias: PredictedBias) -> Any:
    """Return the grid as a function that OpenMM interpolates by cubic splines."""
    kinds = (
        openmm.Continuous1DFunction, openmm.Continuous2DFunction, openmm.Continuous3DFunction,
    )  # fmt: skip
    n = len(bias.axes)
    shape = bias.energy.shape if n > 1 else ()
    limits = np.column_stack([bias.lower, bias.upper]).ravel().tolist()
    return kinds[n - 1](*shape, bias.energy.ravel(order="F").tolist(), *limits)


def _openmm() -> Any:
    openmm = import_extra("openmm", extra="md")
    import_extra("openmm.app", extra="md")
    if not hasattr(openmm, "PythonForce"):
        raise ImportError(
            f"OpenMM 8.6 or later is needed for this, which has PythonForce, got "
            f"{openmm.__version__}: pip install 'latflow[md]'."
        )
    return openmm


def _check_atoms(topology: Any, recipe: Recipe) -> None:
    import mdtraj

    if not hasattr(topology, "getPeriodicBoxVectors"):
        raise TypeError(
            f"Expected `topology` to be an openmm.app.Topology, got {type(topology).__name__}."
        )
    check_topology(mdtraj.Topology.from_openmm(topology), recipe.topology, ", as in the model")


# ------------------------------------------------------------------ what OpenMM calls


class Variables:
    """Variables and their derivatives of the last positions; several forces ask for the same.

    OpenMM copies every force by pickling it: `key` finds the one that the copies share.
    """

    def __init__(self, key: str, module: FromPositions, *, periodic: bool) -> None:
        self.key, self.module, self.periodic = key, module, periodic
        self._function: Traced | None = None
        self._last: list[FloatArray] = []
        self._answer: tuple[list[float], FloatArray]
        _known.setdefault(key, self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _shared, (self.key, self.module, self.periodic)

    def of(self, positions: FloatArray, box: FloatArray | None) -> tuple[list[float], FloatArray]:
        """Return variables (n,) and forces (n, n_atoms, 3), minus their derivatives."""
        arrays = [positions] if box is None else [positions, box]
        if not self._last or not all(map(np.array_equal, arrays, self._last)):
            self._answer = self._computed(arrays)
            self._last = [array.copy() for array in arrays]
        return self._answer

    def _computed(self, arrays: list[FloatArray]) -> tuple[list[float], FloatArray]:
        tensors = [torch.tensor(array, dtype=torch.float64) for array in arrays]
        if self._function is None:
            self._function = with_derivatives(self.module, *tensors)
        with torch.inference_mode():
            z, derivatives = self._function(*tensors)
        return z.tolist(), -derivatives.numpy()


def _shared(key: str, module: FromPositions, periodic: bool) -> Variables:
    known = _known.get(key)
    return Variables(key, module, periodic=periodic) if known is None else known


class Variable:
    """One of the variables, as a PythonForce calls it."""

    def __init__(self, variables: Variables, number: int) -> None:
        self.variables, self.number = variables, number

    def __call__(self, state: Any) -> tuple[float, FloatArray]:
        """Return the variable, and the forces (n_atoms, 3), of a state."""
        # in nm, as OpenMM holds them: value_in_unit costs more than the variables
        positions = state.getPositions(asNumpy=True)._value
        box = None
        if self.variables.periodic:
            box = state.getPeriodicBoxVectors(asNumpy=True)._value
        z, forces = self.variables.of(positions, box)
        return z[self.number], forces[self.number]
