"""Saving and loading fitted estimators: numbers as safetensors, the rest as JSON, no pickle.

One file: safetensors' own format, whose header carries the JSON. Reading runs no code from the
file: what it names is looked up in the short registry below.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import inspect
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes
from scipy.special import logsumexp
from sklearn.utils.validation import check_is_fitted

from latflow._validation import check_output
from latflow._writing import replacing
from latflow.estimators.extrapolator import TemperatureExtrapolator
from latflow.estimators.latf import LaTFEstimator
from latflow.thermodynamics import Energies, Ensemble, Evidence, Pool, Weighting, reduced_at
from latflow.trajectories import Frames
from latflow.units import Units

__all__ = ["load", "save"]

FORMAT = 5  # as 4, under a seal on every byte
SAME_SINCE = 4
BLANK = "0" * 64
SEAL = re.compile(rb'"sha256":\s*"([0-9a-f]{64})"')
VERSION = importlib.metadata.version("latflow")
# what a file may hold, and where it is defined; nothing else is looked up, no code is run
OBJECTS = {
    "LaTFEstimator": "latflow.estimators.latf",
    "TemperatureExtrapolator": "latflow.estimators.extrapolator",
    "Ensemble": "latflow.thermodynamics.ensemble",
    "Pool": "latflow.thermodynamics.pool",
    "Weighting": "latflow.thermodynamics.weighting",
    "Curves": "latflow.thermodynamics.routes",
    "Energies": "latflow.thermodynamics.routes",
    "LogLinear": "latflow.thermodynamics.routes",
    "Evidence": "latflow.thermodynamics.support",
    "Units": "latflow.units",
    "PerFrame": "latflow.trajectories.adapters",
    "FromDeeptime": "latflow.trajectories.adapters",
    "FrozenEstimator": "sklearn.frozen._frozen",
    "Pipeline": "sklearn.pipeline",
    "PCA": "sklearn.decomposition._pca",
    "StandardScaler": "sklearn.preprocessing._data",
    "MinMaxScaler": "sklearn.preprocessing._data",
    "RobustScaler": "sklearn.preprocessing._data",
    "TICA": "deeptime.decomposition._tica",
    "VAMP": "deeptime.decomposition._vamp",
    "CovarianceKoopmanModel": "deeptime.decomposition._koopman",
    "CovarianceModel": "deeptime.covariance._covariance",
    "WhiteningTransform": "deeptime.covariance._covariance",
    "Concatenation": "deeptime.basis._base",
    "Identity": "deeptime.basis._monomials",
}
MODULES = {
    "LatentModel": "latflow.nn.model",
    "ConditionalDensity": "latflow.nn.conditional",
}
# kinds of earlier files, read to be upgraded
RETIRED = ("Mixture", "Pooled", "Replicate")
# parameters of earlier files: estimator and name, the name of today, and what becomes of the value
RENAMED: dict[tuple[str, str], tuple[str, Callable[[Any], Any]]] = {
    ("TemperatureExtrapolator", "n_estimators"): ("n_bootstraps", lambda n: 0 if n == 1 else n),
    ("TemperatureExtrapolator", "hidden_heat_capacity"): (
        "heat_capacity_prior",  # a fraction of what is shown before, in k_B now
        lambda fraction: 0.5 if fraction else 0.0,
    ),
    ("LaTFEstimator", "max_iter"): ("max_iter", lambda n: round(1.6 * n)),  # a measure before
}
# which coordinates a coupling moves: earlier files hold it among the weights
IN_CONFIG = ("moved", "fixed", "order")

Arrays = dict[str, NDArray[Any]]


def save(estimator: LaTFEstimator | TemperatureExtrapolator, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to one file; an old file is replaced only when all is written.

    Parameters
    ----------
    estimator : LaTFEstimator or TemperatureExtrapolator
        Fitted. A RandomState in `random_state` is stored as None.
    path : str or path-like

    Raises
    ------
    TypeError
        For another kind of object.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    OSError
        If the folder cannot be written to.
    """
    if not isinstance(estimator, LaTFEstimator | TemperatureExtrapolator):
        raise TypeError(
            "Expected `estimator` to be a LaTFEstimator or TemperatureExtrapolator, got "
            f"{type(estimator).__name__}."
        )
    check_is_fitted(estimator)
    target = check_output(path)
    arrays: Arrays = {}
    tree = json.dumps(_encode(estimator, "", arrays))
    header = {"format": str(FORMAT), "latflow": VERSION, "tree": tree, "sha256": BLANK}
    with replacing(target) as part:
        part.write_bytes(_sealed(to_bytes(arrays, metadata=header)))


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator that :func:`save` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    LaTFEstimator or TemperatureExtrapolator
        Fitted, on the CPU, with the outputs it had when saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, changed since it was saved, of a newer format, or no such file at all.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file written by latflow.save, found none at {path}.")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            number = _format_of(header, path)
            whole = number < FORMAT or _has_its_seal(path)
            arrays = {name: file.get_tensor(name) for name in file.keys() if whole}  # noqa: SIM118
    except (SafetensorError, TypeError, AttributeError) as error:
        raise ValueError(
            f"Expected a whole file written by latflow.save, got {path}, which is truncated or of "
            f"another kind ({error})."
        ) from error
    if not whole or (number < FORMAT and header.get("sha256") != _digest(header["tree"], arrays)):
        raise ValueError(f"Expected {path} as it was saved, got one that was changed since.")
    if number >= SAME_SINCE:
        return _decode(json.loads(header["tree"]), arrays, None)
    model = _decode(json.loads(header["tree"]), arrays, partial(_upgrade, number=number))
    _add_evidence(model)
    return model


def _format_of(header: Mapping[str, str], path: Path) -> int:
    """Return the number of a file's format, one that can be read."""
    if not header.get("format", "").isdecimal() or "tree" not in header:
        raise ValueError(f"Expected a file written by latflow.save, got {path}, which is not one.")
    number = int(header["format"])
    if number > FORMAT:
        raise ValueError(
            f"Expected a file of format {FORMAT} or older, got format {number} in "
            f"{path}, written by latflow {header.get('latflow')}: install that version."
        )
    return number


def _sealed(content: bytes) -> bytes:
    """Return a file whose header states the digest of all its bytes, with a blank in that place."""
    ((start, end),) = (match.span(1) for match in SEAL.finditer(content[: _head_size(content)]))
    return content[:start] + hashlib.sha256(content).hexdigest().encode() + content[end:]


def _has_its_seal(path: Path) -> bool:
    with path.open("rb") as file:
        size = _head_size(file.read(8))
        file.seek(0)
        head = file.read(size)
        stated = SEAL.search(head)
        if stated is None:
            return False
        start, end = stated.span(1)
        seen = hashlib.sha256(head[:start] + BLANK.encode() + head[end:])
        return hashlib.file_digest(file, lambda: seen).hexdigest().encode() == stated[1]


def _head_size(content: bytes) -> int:
    """Return how many bytes come before the numbers, as the first eight say."""
    return 8 + int.from_bytes(content[:8], "little")


def _digest(tree: str, arrays: Arrays) -> str:
    """Return what files of formats before 5 state: the digest of what they hold."""
    digest = hashlib.sha256(tree.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _encode(value: Any, name: str, arrays: Arrays) -> Any:
    """Turn a value into JSON; its arrays go into `arrays` under the path that leads to them."""
    if isinstance(value, np.random.RandomState):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, np.generic):
        return _encode(value.item(), name, arrays)
    if isinstance(value, np.ndarray) and value.dtype.kind in "OUT":
        return {"strings": [str(v) for v in value]}
    if isinstance(value, np.ndarray):
        return {"array": _stored(value, name, arrays), "shape": list(value.shape)}
    if isinstance(value, list | tuple):
        items = [_encode(v, f"{name}.{k}", arrays) for k, v in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        return {"dict": {k: _encode(v, f"{name}.{k}", arrays) for k, v in value.items()}}
    kind = type(value).__name__
    if MODULES.get(kind) == type(value).__module__:
        weights = {k: v.numpy() for k, v in value.state_dict().items()}
        state = {k: _encode(v, f"{name}.{k}", arrays) for k, v in weights.items()}
        return {"module": kind, "config": value.config(), "weights": state}
    if OBJECTS.get(kind) == type(value).__module__:
        names = {f.name for f in fields(value)} if is_dataclass(value) else set(vars(value))
        kept = {k: v for k, v in vars(value).items() if k in names - {"_metadata_request"}}
        state = {k: _encode(v, f"{name}.{k}", arrays) for k, v in kept.items()}
        return {"object": kind, "state": state}
    raise TypeError(
        f"Expected `{name.lstrip('.')}` to be data that can be saved, got {kind}: pickle and "
        "joblib save it."
    )


def _stored(array: NDArray[Any], name: str, arrays: Arrays) -> str:
    """Return the name that an array is stored under; what several objects hold is stored once."""
    for known, stored in arrays.items():
        if stored is array:
            return known
    arrays[name] = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    return name


Upgrade = Callable[[str, dict[str, Any]], dict[str, Any]] | None


def _decode(tree: Any, arrays: Arrays, upgrade: Upgrade) -> Any:
    if isinstance(tree, list):
        return [_decode(item, arrays, upgrade) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "strings" in tree:
        return np.array(tree["strings"], dtype=object)
    if "array" in tree:
        return arrays[tree["array"]].reshape(tree["shape"])
    if "tuple" in tree:
        return tuple(_decode(item, arrays, upgrade) for item in tree["tuple"])
    if "dict" in tree:
        return {k: _decode(v, arrays, upgrade) for k, v in tree["dict"].items()}
    if "module" in tree:
        return _decode_module(tree, arrays)
    state = {k: _decode(v, arrays, upgrade) for k, v in tree["state"].items()}
    if upgrade is not None:
        if tree["object"] in RETIRED:
            return SimpleNamespace(**state)
        state = upgrade(tree["object"], state)
    kind = _registered(OBJECTS, tree["object"])
    value: Any = object.__new__(kind)
    names = {f.name for f in fields(kind)} if is_dataclass(kind) else set(state)
    vars(value).update({k: v for k, v in state.items() if k in names})
    return value


def _registered(registry: Mapping[str, str], name: str) -> Any:
    if name not in registry:
        raise ValueError(f"Expected one of {', '.join(registry)} in the file, got {name!r}.")
    return getattr(importlib.import_module(registry[name]), name)


# ------------------------------------------------------------------ earlier files


def _upgrade(kind: str, state: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the state of an object of formats 1 and 2 as format 3 has it."""
    if kind not in ("LaTFEstimator", "TemperatureExtrapolator") or number > 2:
        return state
    for (estimator, old), (new, change) in RENAMED.items():
        if estimator == kind and old in state:
            state[new] = change(state.pop(old))
    parameters = inspect.signature(_registered(OBJECTS, kind)).parameters
    state = {name: p.default for name, p in parameters.items()} | {"manifest_": None} | state
    if kind == "LaTFEstimator":
        if "populations_" in state:  # fitted
            state["population_errors_"] = np.full_like(state["populations_"], np.nan)
        return state
    return _upgrade_extrapolator(state)


def _upgrade_extrapolator(state: dict[str, Any]) -> dict[str, Any]:
    """Replace the attributes that answered before by an ensemble."""
    estimator: LaTFEstimator = state["estimator_"]
    labels, lengths = state["labels_"], state.pop("_lengths", None)
    if "_routes" in state:  # format 1
        routes, mixtures = state.pop("_routes"), state.pop("_mixtures")
        if len(routes) > 1:
            raise ValueError(
                "Expected a file whose error bars are of this version, got one with the ensemble "
                "of an older one: fit it anew."
            )
        state["_answer"] = (routes[0], mixtures[0]) if routes else None
    answer, pooled = state.pop("_answer", None), state.pop("_pooled", None)
    state["ensemble_"] = None
    if answer is not None:
        route, mixture = answer
        units = Units(estimator.boltzmann_constant)
        pool = Pool(
            units.betas(state["temperatures_"]), mixture.origin, mixture.weights, pooled.blocks
        )
        ensemble = Ensemble.__new__(Ensemble)
        ensemble.units, ensemble.temperatures = units, state["temperatures_"]
        ensemble.states, ensemble.n_states = labels, estimator.n_states_
        ensemble.set_range(state["temperature_range"])
        ensemble.lengths = lengths
        ensemble.answer = _old_weighting(route, mixture, pool)
        ensemble.bootstraps = tuple(
            Weighting(other, np.zeros(len(pool.betas)), replicate.log_base)
            for other, replicate in state.pop("_replicates", ())
        )
        ensemble.heat_capacities = state.pop("_hidden", None)
        mbar = state.pop("_mbar", None)
        ensemble.yardstick = None if mbar is None else _old_weighting(mbar[0], mbar[1], pool)
        state["ensemble_"] = ensemble
    state["history_"] = estimator.history_ + state["history_"]
    state["n_states_"] = estimator.n_states_
    state["labels_"] = labels if lengths is None else np.split(labels, np.cumsum(lengths)[:-1])
    return {"_order": None, "_cuts": None} | state


def _old_weighting(route: Any, mixture: Any, pool: Pool) -> Weighting:
    """Return the weighting of a mixture, which holds memberships instead of free energies."""
    u = np.array([route.reduced(beta)[0] for beta in pool.betas])
    log_counts = np.log(mixture.membership[0]) + mixture.log_denominator[0] + u
    with np.errstate(divide="ignore"):
        log_base = np.log(mixture.weights) - mixture.log_denominator
    return Weighting(route, log_counts, log_base, pool)


def _add_evidence(model: Any) -> None:
    """Give the ensemble of formats 1 to 3 its energies, and what was observed."""
    ensemble: Ensemble | None = getattr(model, "ensemble_", None)
    if ensemble is None:
        return
    known = [one for one in (ensemble.yardstick, ensemble.answer) if one is not None]
    routes = [one.route for one in known if isinstance(one.route, Energies)]
    ensemble.energy = routes[0].energy if routes else None
    ensemble.bootstraps = tuple(_with_times(one, ensemble.pool) for one in ensemble.bootstraps)
    ensemble.lines = None  # error bars stay what they were
    lagtime = model.lagtime_
    ensemble.evidence = Evidence.of(
        _frames_of(ensemble, model._order, model._cuts, lagtime),
        ensemble.answer, ensemble.units, ensemble.states, ensemble.n_states, lagtime,
    )  # fmt: skip


def _with_times(bootstrap: Weighting, pool: Pool) -> Weighting:
    """Return a bootstrap that says how often it drew each block, where that can be told."""
    if not bootstrap.log_counts.any():  # format 2 held none
        return bootstrap
    logits = bootstrap.log_counts - reduced_at(bootstrap.route, pool.betas)
    weights = np.exp(bootstrap.log_base + logsumexp(logits, axis=1))
    drawn, whole = (pool.block_sums(w[:, None])[:, 0] for w in (weights, pool.weights))
    return replace(bootstrap, times=np.rint(drawn / np.where(whole > 0, whole, 1.0)))


def _frames_of(ensemble: Ensemble, order: Any, cuts: Any, lagtime: int) -> Frames:
    """Return the frames that an ensemble was made of, without their features.

    Trajectories of a list are walkers. Of an array, segments of one temperature are known, at most,
    and one that is too short for a visit tells as little of time as equilibrium draws do.
    """
    pool, n = ensemble.pool, len(ensemble.pool)
    lengths, dynamics = ensemble.lengths, None
    rows = np.argsort(pool.origin, kind="stable") if order is None else order
    if lengths is None:
        ends = np.cumsum(np.bincount(pool.origin))[:-1] if order is None else cuts
        lengths = np.diff([0, *ends, n])
        dynamics = np.repeat(lengths >= 2 * lagtime, lengths)
    else:
        rows = np.arange(n)
    trajectory, frame = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    trajectory[rows] = np.repeat(np.arange(len(lengths)), lengths)
    frame[rows] = np.arange(n) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Frames(
        np.empty((n, 0)), trajectory, frame, ensemble.temperatures, pool.origin, pool.weights,
        dynamics=dynamics if dynamics is None else dynamics[np.argsort(rows)],
    )  # fmt: skip


def _decode_module(tree: Mapping[str, Any], arrays: Arrays) -> torch.nn.Module:
    built: torch.nn.Module = _registered(MODULES, tree["module"])(
        **tree["config"], generator=torch.Generator()
    )
    weights = {
        key: torch.tensor(_decode(value, arrays, None), device="cpu")
        for key, value in tree["weights"].items()
        if key.rpartition(".")[2] not in IN_CONFIG
    }
    built.double().load_state_dict(weights)
    return built.requires_grad_(False).eval()
