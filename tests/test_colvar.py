"""COLVAR files: runs, restarts and sentences; and biased data whose answers are known."""

from __future__ import annotations

import gzip
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import fit_quietly, quick_latf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from latflow.datasets import three_hole_density, three_hole_populations, three_hole_potential
from latflow.featurizers import read_colvar
from latflow.units import BOLTZMANN_CONSTANT

HEADER = "#! FIELDS time phi psi metad.bias wall.bias\n#! SET min_phi -pi\n"


def rows(times: Any, shift: float = 0.0) -> str:
    return "".join(f" {t:f} {t + shift:f} {-t:f} {0.1 * t:f} 1.0\n" for t in times)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "COLVAR"
    path.write_text(HEADER + rows(range(5)))
    return path


class TestReading:
    def test_columns(self, file: Path) -> None:
        data = read_colvar(file)
        assert data.feature_names == ["phi", "psi", "metad.bias", "wall.bias"]
        np.testing.assert_allclose(data.trajectories[0][:, 0], range(5))
        assert data.time_step == 1.0
        assert data.weights is None
        assert data.temperature is None
        assert data.paths == [str(file)]
        some = read_colvar([file], features=["psi", "phi"])
        assert some.feature_names == ["psi", "phi"]
        np.testing.assert_allclose(some.trajectories[0][:, 0], -np.arange(5))

    def test_weights(self, file: Path) -> None:
        data = read_colvar(file, bias=["metad.bias", "wall.bias"], temperature=300)
        assert data.feature_names == ["phi", "psi"]
        assert data.temperature == [300.0]
        expected = np.exp((0.1 * np.arange(5) + 1) / (BOLTZMANN_CONSTANT * 300))
        np.testing.assert_allclose(data.weights[0], expected / expected.mean(), rtol=1e-6)
        reduced = read_colvar(file, bias="metad.bias", temperature=2.0, boltzmann_constant=1.0)
        expected = np.exp(0.1 * np.arange(5) / 2)
        np.testing.assert_allclose(reduced.weights[0], expected / expected.mean(), rtol=1e-6)

    def test_walkers_share_a_scale_at_each_temperature(self, tmp_path: Path) -> None:
        """Adding one energy to all of a temperature changes nothing; biases may be huge."""
        for shift in (0.0, 5000.0):
            for k, own in enumerate((0, 3, 7)):
                lines = [f"{t} 0 {own + shift + t}\n" for t in range(4)]
                (tmp_path / f"{shift:g}.{k}").write_text("#! FIELDS time s b\n" + "".join(lines))
        found = [
            read_colvar(
                [tmp_path / f"{shift:g}.{k}" for k in range(3)],
                bias="b", temperature=[300, 300, 400],
            ).weights
            for shift in (0.0, 5000.0)
        ]  # fmt: skip
        np.testing.assert_allclose(found[0], found[1], rtol=1e-9)
        w = found[0]
        np.testing.assert_allclose(w[1] / w[0], np.exp(3 / (BOLTZMANN_CONSTANT * 300)))
        assert np.concatenate(w[:2]).mean() == pytest.approx(1)
        assert w[2].mean() == pytest.approx(1)

    @settings(max_examples=30, deadline=None)
    @given(ends=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=4))
    def test_restarts(self, tmp_path_factory: Any, ends: Any) -> None:
        """Each restart goes on from a checkpoint; the last to pass a time counts."""
        text, truth, last = HEADER + rows(range(20)), dict.fromkeys(range(20), 0), 20
        for run, (back, length) in enumerate(ends, start=1):
            first = max(0, last - back)
            text += HEADER + rows(range(first, first + length), shift=100 * run)
            truth = {t: r for t, r in truth.items() if t < first}
            truth |= dict.fromkeys(range(first, first + length), run)
            last = first + length
        path = tmp_path_factory.mktemp("colvar") / "COLVAR"
        path.write_text(text)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            x = read_colvar(path).trajectories[0]
        np.testing.assert_allclose(x[:, 0], [t + 100 * run for t, run in truth.items()])
        assert [("after a restart" in str(w.message)) for w in caught] == [True] * bool(ends)

    def test_killed_while_writing(self, tmp_path: Path) -> None:
        path = tmp_path / "COLVAR"
        path.write_text(HEADER + rows(range(5)) + " 5.0 5.0 -5" + HEADER + rows(range(5, 8)))
        with pytest.warns(UserWarning, match="Line 8 of .* ends early and is dropped"):
            data = read_colvar(path)
        np.testing.assert_allclose(data.trajectories[0][:, 0], range(8))
        path.write_text(HEADER + rows(range(5)) + " 5.0 5.0")
        with pytest.warns(UserWarning, match="ends early"):
            assert len(read_colvar(path).trajectories[0]) == 5

    def test_columns_in_another_order_after_a_restart(self, tmp_path: Path) -> None:
        path = tmp_path / "COLVAR"
        path.write_text("#! FIELDS time a b\n0 1 2\n1 1 2\n#! FIELDS time b a\n2 2 1\n")
        np.testing.assert_allclose(read_colvar(path).trajectories[0], [[1, 2]] * 3)

    def test_uneven_times(self, tmp_path: Path) -> None:
        path = tmp_path / "COLVAR"
        path.write_text(HEADER + rows([0, 1, 2, 3, 7, 8, 9]))
        with pytest.warns(UserWarning, match="not evenly spaced: see after 3"):
            assert read_colvar(path).time_step == 1.0

    def test_single_frame(self, tmp_path: Path) -> None:
        path = tmp_path / "COLVAR"
        path.write_text(HEADER + rows([4]))
        assert read_colvar(path).time_step is None


# ------------------------------------------------------------------ files as PLUMED writes them


def printed(
    times: Any, *, fmt: str = "%f", periodic: Any = (("phi", "-pi", "pi"),), **columns: Any
) -> str:
    """Return what PLUMED's PRINT writes: fields, bounds of periodic ones, rows of numbers."""
    lines = [f"#! FIELDS time {' '.join(columns)}"]
    for name, low, high in periodic:
        lines += [f"#! SET min_{name} {low}", f"#! SET max_{name} {high}"]
    values = np.broadcast_arrays(times, *columns.values())
    lines += ["".join(" " + fmt % v for v in row) for row in zip(*values, strict=True)]
    return "\n".join(lines) + "\n"


T = np.arange(6.0)
BIASED: Any = {"phi": np.linspace(-3, 3, 6), "d": T + 0.125, "metad.bias": 2.25}


class TestFilesOfPlumed:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "COLVAR"

    @pytest.mark.parametrize("restarted", [False, True])
    def test_a_run_killed_anywhere_in_its_last_line(self, path: Path, restarted: bool) -> None:
        whole = printed(T, **BIASED)
        later = printed(np.r_[5.0, 6, 7], phi=1, d=2, **{"metad.bias": 0}) if restarted else ""
        begin = whole[:-1].rindex("\n") + 1
        for end in range(begin + 2, len(whole)):
            path.write_text(whole[:end] + later)
            with pytest.warns(UserWarning, match=r"^Line 9 of .* ends early and is dropped\.$"):
                data = read_colvar(path, features="d")
            expected = [*(T[:5] + 0.125), *[2, 2, 2][: 3 * restarted]]
            np.testing.assert_array_equal(data.trajectories[0][:, 0], expected)
        path.write_text(whole[:begin] + later)
        assert len(read_colvar(path).trajectories[0]) == 5 + 3 * restarted

    @pytest.mark.parametrize("restarted", [False, True])
    def test_a_restart_killed_anywhere_in_its_header(self, path: Path, restarted: bool) -> None:
        whole, later = (printed(t, **(BIASED | {"d": 4})) for t in (T, T + 6))
        n_kept = 12 if restarted else 6
        for end in range(later.index("\n 6.0")):
            path.write_text(whole + later[:end] + later * restarted)
            X = read_colvar(path).trajectories[0]
            assert X.shape == (n_kept, 4)
            np.testing.assert_array_equal(X[:, 2], 4)

    def test_compressed_also_where_runs_were_killed_and_restarted(self, path: Path) -> None:
        one, two = (gzip.compress(printed(t, **BIASED).encode()) for t in (T, T + 6))
        path.write_bytes(one + two)
        assert len(read_colvar(path).trajectories[0]) == 12
        for lost in (1, 8, 9):  # of the checksum and the size at the end: the text is whole
            path.write_bytes((one + two)[:-lost])
            assert len(read_colvar(path).trajectories[0]) == 12
        packer = zlib.compressobj(wbits=31)
        flushed = packer.compress(printed(T, **BIASED)[:-3].encode()) + packer.flush(
            zlib.Z_SYNC_FLUSH
        )
        path.write_bytes(flushed)
        with pytest.warns(UserWarning, match="Line 9 of .* ends early"):
            assert len(read_colvar(path).trajectories[0]) == 5
        path.write_bytes(one[:30] + bytes(9) + one[39:])
        with pytest.raises(ValueError, match="COLVAR as gzip wrote it, got one that is damaged"):
            read_colvar(path)

    def test_names_and_comments_in_any_encoding_and_lines_of_windows(self, path: Path) -> None:
        text = "# Länge in Å\n" + printed(T, periodic=(), Länge=T)
        for encoded in (text.encode("latin-1"), text.encode(), text.replace("\n", "\r\n").encode()):
            path.write_bytes(encoded)
            data = read_colvar(path)
            assert data.feature_names == ["Länge"]
            np.testing.assert_array_equal(data.trajectories[0][:, 0], T)

    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
    def test_what_is_not_finite_matters_where_it_was_asked_for(
        self, path: Path, wrong: float
    ) -> None:
        path.write_text(printed(T, **BIASED, rct=[0, 0, 0, wrong, 0, 0]))
        data = read_colvar(path, features="d", bias="metad.bias", temperature=300)
        np.testing.assert_array_equal(data.trajectories[0][:, 0], BIASED["d"])
        for asked in ({"features": ["d", "rct"]}, {"bias": "rct", "temperature": 300}, {}):
            with pytest.raises(ValueError, match=rf"got {wrong} in rct in line 7 of .*COLVAR"):
                read_colvar(path, **asked)

    def test_a_column_that_is_new_or_gone_after_a_restart(self, path: Path) -> None:
        later = BIASED | {"wall.bias": 1.0}
        path.write_text(printed(T, **BIASED) + printed(T + 6, **later) + printed(T + 12, **BIASED))
        assert read_colvar(path, features=["d"]).trajectories[0].shape == (18, 1)
        with pytest.warns(UserWarning, match="Only some runs have the column wall.bias, which is"):
            data = read_colvar(path)
        assert data.feature_names == ["cos_phi", "sin_phi", "d", "metad.bias"]
        with pytest.raises(ValueError, match=r"column wall.bias in .* metad.bias above line 4\."):
            read_colvar(path, features="wall.bias")

    @pytest.mark.parametrize("step", [0.04, 0.25])
    def test_rounded_times_are_no_restart(self, path: Path, step: float) -> None:
        times = step * np.arange(50)
        path.write_text(printed(times, fmt="%.1f", d=np.arange(50)))
        data = read_colvar(path)
        np.testing.assert_array_equal(data.trajectories[0][:, 0], np.arange(50))
        assert data.time_step == pytest.approx(step, rel=0.06)
        files = [path.with_name(name) for name in ("exact", "rounded")]
        for file, fmt in zip(files, ("%f", "%.1f"), strict=True):
            file.write_text(printed(times, fmt=fmt, d=1))
        assert read_colvar(files).time_step == pytest.approx(step, rel=1e-3)

    def test_equal_times_are_kept_but_where_a_restart_repeats_them(self, path: Path) -> None:
        path.write_text(printed([3.0, 3.0, 3.0], d=[0, 1, 2]))
        data = read_colvar(path)
        assert (len(data.trajectories[0]), data.time_step) == (3, None)
        path.write_text(printed(T, d=0) + printed(T + 5, d=1))
        with pytest.warns(
            UserWarning, match="1 of 12 frames in .* after a restart and are dropped"
        ):
            assert len(read_colvar(path).trajectories[0]) == 11

    def test_runs_are_trajectories_where_asked_for(self, path: Path) -> None:
        path.write_text(printed(T, d=0) + printed(T[:4], d=1) + printed(T + 50, d=2))
        with (
            pytest.warns(UserWarning, match="6 of 16 .* `separate_runs=True` keeps them"),
            pytest.warns(UserWarning, match="not evenly spaced"),
        ):
            assert len(read_colvar(path).trajectories[0]) == 10
        data = read_colvar([path, path], separate_runs=True, temperature=[300, 400])
        assert [len(X) for X in data.trajectories] == [6, 4, 6] * 2
        assert [X[0, 0] for X in data.trajectories] == [0, 1, 2] * 2
        assert data.temperature == [300.0] * 3 + [400.0] * 3
        assert data.paths == [str(path)] * 6
        assert data.time_step == 1

    def test_each_file_has_its_biases_or_none(self, tmp_path: Path) -> None:
        files = [tmp_path / f"COLVAR.{k}" for k in range(3)]
        walls = {"wall.bias": T / 2, "metad.rbias": T}
        for file, biases in zip(files, ({}, walls, {"restraint.bias": T}), strict=True):
            file.write_text(printed(T, d=T, **biases))
        bias = [None, ["wall.bias", "metad.rbias"], "restraint.bias"]
        data = read_colvar(files, bias=bias, temperature=300)
        assert data.feature_names == ["d"]
        energies = [0 * T, 1.5 * T, T]
        for w, energy in zip(data.weights, energies, strict=True):
            expected = np.exp(energy / (BOLTZMANN_CONSTANT * 300))
            np.testing.assert_allclose(w / data.weights[0], expected)
        assert np.mean(data.weights) == pytest.approx(1)
        with pytest.raises(ValueError, match=r"one entry per file \(3\), got 2"):
            read_colvar(files, bias=bias[:2], temperature=300)
        with pytest.raises(
            ValueError, match=r"column restraint.bias in .*COLVAR.0, which has time, d"
        ):
            read_colvar(files, features="d", bias=["restraint.bias"], temperature=300)
        with pytest.raises(ValueError, match="`temperature` with `bias`"):
            read_colvar(files, bias=bias)

    @pytest.mark.parametrize(
        "fields",
        [
            "time phi psi sigma_phi sigma_psi height biasf",
            "time phi psi sigma_phi_phi sigma_psi_phi sigma_psi_psi height biasf",
            "time phi sigma_phi height logweight",
        ],
    )
    def test_hills_are_refused_by_name(self, path: Path, fields: str) -> None:
        numbers = " 0.5" * len(fields.split())
        path.write_text(f"#! FIELDS {fields}\n#! SET multivariate false\n{numbers}\n{numbers}\n")
        with pytest.raises(
            ValueError, match=r"a COLVAR file, .*COLVAR, which lists hills of metad"
        ):
            read_colvar(path)

    @pytest.mark.parametrize(
        ("low", "high", "period"),
        [
            ("-pi", "pi", 2 * np.pi), ("-PI", "+PI", 2 * np.pi), ("0", "2*pi", 2 * np.pi),
            ("-0.5pi", "pi/2", np.pi), ("0.5", "2.75", 2.25), ("-1e-1", ".1", 0.2),
        ],
    )  # fmt: skip
    def test_a_periodic_column_becomes_a_pair(
        self, path: Path, low: str, high: str, period: float
    ) -> None:
        path.write_text(printed(T, periodic=[("x", low, high)], d=T, x=T / 4))
        data = read_colvar(path)
        assert data.feature_names == ["d", "cos_x", "sin_x"]
        phase = 2 * np.pi * T / 4 / period
        expected = np.column_stack([T, np.cos(phase), np.sin(phase)])
        np.testing.assert_allclose(data.trajectories[0], expected, atol=1e-12)
        path.write_text(printed(T, periodic=[("x", low, high)], d=T, x=T / 4 + period))
        np.testing.assert_allclose(read_colvar(path).trajectories[0], expected, atol=1e-5)

    @pytest.mark.parametrize(
        ("low", "high"), [("-pi", "-pi"), ("pi", "-pi"), ("-", "pi"), ("0", "x"), ("0", "1e999")]
    )
    def test_bounds_that_are_none(self, path: Path, low: str, high: str) -> None:
        path.write_text(printed(T, periodic=[("d", low, high)], d=T, phi=T))
        with pytest.raises(
            ValueError, match=f"ascending order, as min_d and .* got {low} and {high}"
        ):
            read_colvar(path)
        assert read_colvar(path, features="phi").feature_names == ["phi"]

    def test_runs_of_different_periods(self, path: Path) -> None:
        bounds = (("-pi", "pi"), ("0", "2pi"), ("0", "1"))
        one, same, other = (printed(T, periodic=[("d", *pair)], d=T) for pair in bounds)
        path.write_text(one + same)
        assert read_colvar(path, separate_runs=True).feature_names == ["cos_d", "sin_d"]
        path.write_text(one + other)
        with pytest.raises(
            ValueError, match=r"one period of d in all runs, got 6.28319 and 1 \(in"
        ):
            read_colvar(path, separate_runs=True)


class TestSentences:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"features": ["phi", "chi"]}, "the column chi in .*, which has time, phi, psi, metad"),
            ({"bias": ["a", "b"], "temperature": 300}, "the columns a, b in .*, which has time"),
            ({"bias": "metad.bias"}, "`temperature` with `bias`"),
            ({"temperature": [300, 310]}, r"one per trajectory \(1\), got 2"),
            ({"temperature": 0}, "`temperature` to be a finite number > 0"),
            ({"boltzmann_constant": 0}, "`boltzmann_constant` to be a finite number > 0"),
        ],
    )
    def test_options(self, file: Path, options: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            read_colvar(file, **options)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "a line `#! FIELDS time ...` at the head of .*, got none"),
            ("1 2 3\n", "a line `#! FIELDS time ...` at the head of"),
            (HEADER, "frames in .*, got none"),
            ("#! FIELDS step phi\n0 1\n", "the column time in .*, which has step, phi"),
            ("#! FIELDS time a\n0 1\n1 x\n2 1\n", "2 numbers, .* in line 3 of .*got '1 x'"),
            ("#! FIELDS time a\n0 1\n1\n2 1\n", "2 numbers, .* in line 3 of .*got '1'"),
            ("#! FIELDS time a\n0 1\n1 nan\n2 1\n", "got nan in a in line 3 of"),
            (
                "#! FIELDS time a\n0 1\n#! FIELDS time b\n1 1\n",
                "a column besides time and `bias` that all runs have, got a, b in some",
            ),
            ("#! FIELDS time\n0\n", "a column besides time .* got none in some"),
            ("#! FIELDS time a a\n0 1 1\n", "columns of different names in .*, got a twice"),
        ],
    )
    def test_files(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "COLVAR"
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_colvar(path)

    def test_several(self, file: Path, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"an existing file, got .*no"):
            read_colvar([file, tmp_path / "no"])
        with pytest.raises(ValueError, match="at least one file"):
            read_colvar([])
        other = tmp_path / "other"
        other.write_text(HEADER + rows(range(0, 10, 2)))
        with pytest.raises(ValueError, match=r"same time between frames .*got 1 in .*and 2 in"):
            read_colvar([file, other])


# ------------------------------------------------------------------ biased data, known answers


def bias_of(x: Any, y: Any) -> Any:
    """A hill of 1.5 k_B T in the left hole and a well of 1 k_B T in the upper one."""
    return 1.5 * np.exp(-((x + 1) ** 2) - y**2) - np.exp(-(x**2) - (y - 5 / 3) ** 2)


def energy(x: Any, y: Any) -> Any:
    return three_hole_potential(x, y) + bias_of(x, y)


def simulate_biased(folder: Path, seed: int, n_walkers: int = 100, n_frames: int = 200) -> Any:
    """Write a COLVAR file per walker: overdamped dynamics at k_B T = 1 from equilibrium."""
    rng, step, stride, shift = np.random.default_rng(seed), 0.01, 20, 1e-5
    axis = np.linspace(-3, 3.5, 300)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij")).reshape(2, -1)
    start = np.exp(-energy(*grid))
    at = grid[:, rng.choice(grid.shape[1], n_walkers, p=start / start.sum())]
    frames, noise = [], rng.normal(size=at.shape)
    for _ in range(n_frames):
        for _ in range(stride):
            x, y = at
            force = np.array([
                energy(x - shift, y) - energy(x + shift, y),
                energy(x, y - shift) - energy(x, y + shift),
            ]) / (2 * shift)  # fmt: skip
            before, noise = noise, rng.normal(size=at.shape)
            at = at + step * force + np.sqrt(step / 2) * (before + noise)
        frames.append([*at, bias_of(*at)])
    paths = []
    for k, walker in enumerate(np.array(frames).transpose(2, 0, 1)):
        table = np.column_stack([step * stride * np.arange(1, n_frames + 1), walker])
        paths.append(folder / f"COLVAR.{k}")
        np.savetxt(paths[-1], table, fmt="%.6f", header="! FIELDS time x y b.bias", comments="#")
    return paths


@pytest.fixture(scope="module", params=[0, 1])
def fitted(request: Any, tmp_path_factory: Any) -> Any:
    paths = simulate_biased(tmp_path_factory.mktemp("biased"), request.param)
    data = read_colvar(paths, bias="b.bias", temperature=1.0, boltzmann_constant=1.0)
    model = quick_latf(lagtime=2, max_iter=640, random_state=request.param)
    model.fit(data.trajectories, temperature=data.temperature, weights=data.weights)
    return model, data


class TestBiasedThreeHole:
    def affine(self, model: Any) -> Any:
        """The linear encoder as z = x A + b."""
        corners = model.transform(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        return corners[1:] - corners[0], corners[0]

    def test_what_was_read(self, fitted: Any) -> None:
        _, data = fitted
        assert data.feature_names == ["x", "y"]
        assert data.time_step == pytest.approx(0.2)
        x = np.concatenate(data.trajectories)
        expected = np.exp(bias_of(*x.T))
        np.testing.assert_allclose(
            np.concatenate(data.weights), expected / expected.mean(), rtol=1e-3
        )

    def test_labels_and_populations(self, fitted: Any) -> None:
        model, _ = fitted
        exact = three_hole_populations(1.0, assign=model.predict)
        np.testing.assert_allclose(model.populations_[0], exact, atol=0.05)
        labels = np.concatenate(model.labels_)
        biased = np.bincount(labels, minlength=len(exact)) / len(labels)
        assert np.abs(biased - exact).max() > 0.08
        minima = np.array([[0.0, 1.54], [-1.05, -0.04], [1.05, -0.04]])
        assert len(set(model.predict(minima))) == model.n_states_ > 1

    def test_generated_density(self, fitted: Any) -> None:
        model, _ = fitted
        exact = three_hole_populations(1.0, assign=model.predict)
        drawn = model.sample(20_000, random_state=0)
        found = np.bincount(model.predict_latent(drawn), minlength=len(exact)) / len(drawn)
        np.testing.assert_allclose(found, exact, atol=0.05)

    def test_free_energies(self, fitted: Any) -> None:
        """-log p of the latent density, carried back to x and y, is the unbiased potential."""
        model, _ = fitted
        axis = np.linspace(-2, 2.2, 60)
        x, y = (g.ravel() for g in np.meshgrid(axis, axis, indexing="ij"))
        density = three_hole_density(x, y, 1.0)
        near = density > 0.05 * density.max()
        matrix, offset = self.affine(model)
        z = np.stack([x, y], axis=1)[near] @ matrix + offset
        log_p = model.log_density(z) + np.log(abs(np.linalg.det(matrix)))
        off = log_p - np.log(density[near])
        assert np.abs(off).mean() < 0.15
        mixed = -energy(x, y)[near]  # what an unweighted fit would find, up to a constant
        mixed = mixed - np.log(np.exp(-energy(x, y)).sum() * (axis[1] - axis[0]) ** 2)
        assert np.abs(mixed - np.log(density[near])).mean() > 0.35

    def test_only_ratios_count(self, fitted: Any) -> None:
        model, data = fitted
        scaled = [7 * w for w in data.weights]
        short = clone(model).set_params(max_iter=20, n_refinements=1)
        one, two = (
            fit_quietly(clone(short), data.trajectories, temperature=data.temperature, weights=w)
            for w in (data.weights, scaled)
        )
        np.testing.assert_allclose(
            one.transform(data.trajectories[0]), two.transform(data.trajectories[0]), atol=1e-4
        )
