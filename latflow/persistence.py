"""Saving and loading fitted estimators: numbers as safetensors, the rest as JSON, no pickle.

One file: safetensors' own format, whose header carries the JSON. Reading runs no code from the
file: what it names is looked up in the short registry below.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from latflow._validation import check_output
from latflow._writing import replacing
from latflow.estimators.extrapolator import TemperatureExtrapolator
from latflow.estimators.latf import LaTFEstimator
from latflow.estimators.reweighting import Energies, LogLinear, Pooled
from latflow.nn.model import ConditionalDensity, LatentModel
from latflow.thermodynamics import Mixture, Replicate

__all__ = ["load", "save"]

FORMAT = 2
VERSION = importlib.metadata.version("latflow")
REGISTERED = (
    LaTFEstimator,
    TemperatureExtrapolator,
    FrozenEstimator,
    Energies,
    LogLinear,
    Mixture,
    Pooled,
    Replicate,
)
OBJECTS: dict[str, Any] = {cls.__name__: cls for cls in REGISTERED}
MODULES: dict[str, Any] = {cls.__name__: cls for cls in (ConditionalDensity, LatentModel)}
# which coordinates a coupling moves: earlier files hold it among the weights
IN_CONFIG = ("moved", "fixed", "order")

# parameters of earlier files, their names of today, and what becomes of their values
RENAMED: dict[str, tuple[str, Any]] = {
    "n_estimators": ("n_bootstraps", lambda n: 0 if n == 1 else n),
}

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
    header = {
        "format": str(FORMAT),
        "latflow": VERSION,
        "tree": tree,
        "sha256": _digest(tree, arrays),
    }
    with replacing(target) as part:
        part.write_bytes(to_bytes(arrays, metadata=header))


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
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise ValueError(
            f"Expected a whole file written by latflow.save, got {path}, which is truncated or of "
            f"another kind ({error})."
        ) from error
    _check_header(header, arrays, path)
    found = _decode(json.loads(header["tree"]), arrays)
    if int(header["format"]) == 1 and isinstance(found, TemperatureExtrapolator):
        _upgrade(found, path)
    return found


def _upgrade(found: TemperatureExtrapolator, path: Path) -> None:
    """Give a model of format 1 the attributes of today."""
    own: dict[str, Any] = found.__dict__
    routes, mixtures = own.pop("_routes"), own.pop("_mixtures")
    if len(routes) > 1:
        raise ValueError(
            f"Expected a file whose error bars are of this version, got {path} with the ensemble "
            "of an older one: fit it anew."
        )
    own.pop("_averaged", None)
    own.setdefault("_mbar", None)
    own["_answer"] = (routes[0], mixtures[0]) if routes else None
    own["_replicates"], own["_hidden"], own["hidden_heat_capacity"] = (), None, 0.0


def _check_header(header: Mapping[str, str], arrays: Arrays, path: Path) -> None:
    if not header.get("format", "").isdigit() or "tree" not in header:
        raise ValueError(f"Expected a file written by latflow.save, got {path}, which is not one.")
    if int(header["format"]) > FORMAT:
        raise ValueError(
            f"Expected a file of format {FORMAT} or older, got format {header['format']} in "
            f"{path}, written by latflow {header.get('latflow')}: install that version."
        )
    if header.get("sha256") != _digest(header["tree"], arrays):
        raise ValueError(f"Expected {path} as it was saved, got one that was changed since.")


def _digest(tree: str, arrays: Arrays) -> str:
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
    if isinstance(value, np.generic):
        return _encode(value.item(), name, arrays)
    if isinstance(value, np.ndarray) and value.dtype.kind in "OUT":
        return {"strings": [str(v) for v in value]}
    if isinstance(value, np.ndarray):
        arrays[name] = np.ascontiguousarray(value)
        return {"array": name, "shape": list(value.shape)}
    if isinstance(value, list | tuple):
        items = [_encode(v, f"{name}.{k}", arrays) for k, v in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict):
        return {"dict": {k: _encode(v, f"{name}.{k}", arrays) for k, v in value.items()}}
    kind = type(value).__name__
    if MODULES.get(kind) is type(value):
        weights = {k: v.numpy() for k, v in value.state_dict().items()}
        state = {k: _encode(v, f"{name}.{k}", arrays) for k, v in weights.items()}
        return {"module": kind, "config": value.config(), "weights": state}
    if OBJECTS.get(kind) is type(value):
        names = {f.name for f in fields(value)} if is_dataclass(value) else set(vars(value))
        kept = {k: v for k, v in vars(value).items() if k in names - {"_metadata_request"}}
        state = {k: _encode(v, f"{name}.{k}", arrays) for k, v in kept.items()}
        return {"object": kind, "state": state}
    raise TypeError(f"Expected `{name.lstrip('.')}` to be data that can be saved, got {kind}.")


def _decode(tree: Any, arrays: Arrays) -> Any:
    if isinstance(tree, list):
        return [_decode(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "strings" in tree:
        return np.array(tree["strings"], dtype=object)
    if "array" in tree:
        return arrays[tree["array"]].reshape(tree["shape"])
    if "tuple" in tree:
        return tuple(_decode(item, arrays) for item in tree["tuple"])
    if "dict" in tree:
        return {k: _decode(v, arrays) for k, v in tree["dict"].items()}
    if "module" in tree:
        return _decode_module(tree, arrays)
    value: Any = object.__new__(_registered(OBJECTS, tree["object"]))
    for key, state in tree["state"].items():
        name, changed = RENAMED.get(key, (key, None))
        found = _decode(state, arrays)
        vars(value)[name] = found if changed is None else changed(found)
    return value


def _registered(registry: Mapping[str, Any], name: str) -> Any:
    if name not in registry:
        raise ValueError(f"Expected one of {', '.join(registry)} in the file, got {name!r}.")
    return registry[name]


def _decode_module(tree: Mapping[str, Any], arrays: Arrays) -> torch.nn.Module:
    built: torch.nn.Module = _registered(MODULES, tree["module"])(
        **tree["config"], generator=torch.Generator()
    )
    weights = {
        key: torch.tensor(_decode(value, arrays))
        for key, value in tree["weights"].items()
        if key.rpartition(".")[2] not in IN_CONFIG
    }
    built.double().load_state_dict(weights)
    return built.requires_grad_(False).eval()
