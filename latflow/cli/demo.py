"""``latflow demo``: the main job, end to end."""

from __future__ import annotations

from typing import Any

import typer

import latflow

LINE_WIDTH = 100
FRAMES, QUICK_FRAMES = 50_000, 400
QUICK: dict[str, Any] = {"temperatures": (0.2, 0.35), "max_iter": 50, "n_bootstraps": 0}


def demo(
    output: str = typer.Option("latflow_demo.html", metavar="FILE"),
    frames: int | None = typer.Option(
        None,
        metavar="N",
        show_default=f"{FRAMES}, or {QUICK_FRAMES} with --quick",
        help="Frames to simulate at each temperature.",
    ),
    seed: int = typer.Option(0, metavar="S"),
    jobs: int = typer.Option(2, metavar="N", help="Processes that simulate at the same time."),
    quick: bool = typer.Option(
        False,
        "--quick",
        help="Few frames, temperatures and steps: some ten seconds, to see that everything works; "
        "the figures mean nothing.",
    ),
) -> None:
    """The main job, end to end, on particles that it simulates itself.

    Simulate seven Lennard-Jones particles at T = 0.2 and 0.5, fit, predict T = 0.2 to 0.7, compare
    with simulations and write an HTML report. About two minutes on two cores.
    """
    room = latflow.report
    n_frames = frames or (QUICK_FRAMES if quick else FRAMES)
    result = room.run_demo(
        n_frames=n_frames,
        n_reference=n_frames,
        output=output,
        n_jobs=jobs,
        random_state=seed,
        report=lambda line: print(line, flush=True),
        **(QUICK if quick else {}),
    )
    print()
    print(room.readable(result.table).set_index("T").to_string(line_width=LINE_WIDTH))
    print("\nJS in nats; populations ± one standard error.")
    print(f"Report: {result.path} ({result.timings['total']:.0f} s in all)")
