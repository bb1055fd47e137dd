"""Seconds and memory: calls in turn, and measurements in new processes, by any checkout."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

BENCHMARKS = Path(__file__).parent
LATFLOW = """
import inspect, warnings
from pathlib import Path
import latflow

warnings.simplefilter("ignore")
if "checkout" in settings and Path(settings["checkout"]) not in Path(latflow.__file__).parents:
    raise SystemExit(f"{latflow.__file__} is not that of {settings['checkout']}")


def extrapolator(n_bootstraps, latf, **options):
    old = "n_estimators" in inspect.signature(latflow.TemperatureExtrapolator).parameters
    number = {"n_estimators": max(1, n_bootstraps)} if old else {"n_bootstraps": n_bootstraps}
    latent = latflow.LaTFEstimator(boltzmann_constant=1.0, random_state=0, **latf)
    return latflow.TemperatureExtrapolator(latent, random_state=0, **number, **options)

"""


def timed(function, clock=time.process_time):
    """Return seconds of one call; by default other processes of the machine do not count."""
    start = clock()
    function()
    return clock() - start


def in_turn(functions, repeats):
    """Return each function's median seconds, called in turn after a first call that is dropped."""
    rounds = [[timed(function) for function in functions.values()] for _ in range(repeats + 1)]
    return dict(zip(functions, map(statistics.median, zip(*rounds[1:], strict=True)), strict=True))


def memory(entry="VmHWM"):
    """Return this process's largest ("VmHWM") or present ("VmRSS") resident memory in bytes.

    The former begins anew with a new program, where that of getrusage counts what the parent held.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(entry))


def in_child(code, settings, checkout=None):
    """Run code in a fresh process and return what it prints as JSON.

    The code has `settings` and runs in benchmarks/, whose modules it finds. With a checkout, it has
    the `latflow` there, and `extrapolator`, which knows what that calls its number of bootstraps.
    """
    head = "import json, sys\nsettings = json.loads(sys.argv[1])\n"
    environment = dict(os.environ)
    if checkout:
        settings = settings | {"checkout": str(Path(checkout).resolve())}
        environment["PYTHONPATH"] = settings["checkout"]
        head += LATFLOW
    words = [sys.executable, "-c", head + code, json.dumps(settings)]
    # not the folder of the caller, whose latflow would come before that of PYTHONPATH
    done = subprocess.run(
        words, capture_output=True, text=True, env=environment, cwd=BENCHMARKS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"A measurement failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
