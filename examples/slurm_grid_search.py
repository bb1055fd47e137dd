"""A grid search spread over a SLURM cluster by joblib's Dask backend.

    python examples/slurm_grid_search.py            # on a login node: dask-jobqueue starts the jobs
    python examples/slurm_grid_search.py --local    # two processes of this machine, to try it

Needs `pip install "latflow[dask]"`. Edit partition, time and memory to what your site offers.
"""

import argparse

import joblib
import pandas as pd
import sklearn
from distributed import Client, LocalCluster
from sklearn.model_selection import GridSearchCV

from latflow import LaTFEstimator, TrajectoryKFold, stack
from latflow.datasets import make_three_hole
from latflow.metrics import vamp2_scorer


def start(local):
    """Start a cluster: here, or as 20 jobs of 4 processes on one core each."""
    if local:
        return LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    from dask_jobqueue import SLURMCluster

    cluster = SLURMCluster(
        queue="normal", cores=4, processes=4, memory="16GB", walltime="02:00:00",
        job_script_prologue=["export OMP_NUM_THREADS=1"],
    )  # fmt: skip
    cluster.scale(jobs=20)
    return cluster


def main(local):
    """Search lagtime and bottleneck on stacked trajectories, sent to each worker once."""
    data = make_three_hole(20_000, temperature=1.0, random_state=0)
    X, metadata = stack(data.trajectories, temperature=data.temperature)
    sklearn.set_config(enable_metadata_routing=True)
    search = GridSearchCV(
        LaTFEstimator(boltzmann_constant=1.0, max_iter=300, random_state=0),
        {"lagtime": [2, 5, 10], "bottleneck": [1e-4, 1e-3]},
        cv=TrajectoryKFold(2),
        scoring=vamp2_scorer(10),
    )
    with start(local) as cluster, Client(cluster) as client:
        client.wait_for_workers(1)
        with joblib.parallel_config(backend="dask", scatter=[X]):
            search.fit(X, **metadata)
    table = pd.DataFrame(search.cv_results_)
    columns = ["param_lagtime", "param_bottleneck", "mean_test_score", "std_test_score"]
    print(table[columns].to_string(index=False, float_format="{:.4g}".format))


if __name__ == "__main__":  # the workers import this file: they must not start a cluster each
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--local", action="store_true")
    main(parser.parse_args().local)
