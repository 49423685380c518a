"""`potnode bench train`: what candidates teach a model, beside backprop and other trainers.

Responsible for running cases and for what becomes of them: JSON, Parquet, plots. What a case runs
is `potnode.bench.train_cases`'.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from potnode.bench.energy import EVALUATORS_DO_THE_ARITHMETIC, Energy
from potnode.bench.plots import draw_curves
from potnode.bench.train_curves import Curve, Report
from potnode.data.catalog import Catalog
from potnode.errors import PotnodeError


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run. evaluations: of candidates, instead of a case's own. seeds: 0, 1, ..."""

    catalog: Catalog
    evaluations: int | None = None
    seeds: int = 1
    report: Report = field(default=lambda _: None)


@dataclass(frozen=True, slots=True)
class Result:
    """Curves of a case. levels: bits to compare with, by name. bits: whether those are plotted."""

    case: str
    title: str
    curves: tuple[Curve, ...]
    energy: tuple[Energy, ...] = ()
    levels: Mapping[str, float] = field(default_factory=dict)
    bits: bool = False

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "case": self.case,
            "title": self.title,
            "levels": dict(self.levels),
            "curves": [curve.document() for curve in self.curves],
            "energy": [asdict(row) for row in self.energy],
            "energy_note": EVALUATORS_DO_THE_ARITHMETIC,
        }

    def text(self) -> str:
        """For people: one line a curve, then the joules."""
        lines = [self.title]
        for curve in self.curves:
            last = curve.last
            rate = last.evaluations / max(last.seconds, 1e-9)
            lines.append(
                f"  {curve.method}, seed {curve.seed}: accuracy {last.accuracy:.4f}, "
                f"{last.bits:.3f} bits after {last.evaluations} evaluations in "
                f"{last.seconds:.1f} s ({rate:.0f}/s) [{curve.settings}]"
            )
        lines += [f"  {name}: {value:.3f} bits" for name, value in self.levels.items()]
        lines += [
            f"  {row.miner}, one machine at the evaluator's pace: difficulty {row.difficulty:.4g} "
            f"(bits {row.bits:.1f}), {row.joules_per_share:.3g} J a share, "
            f"{row.joules / 1e3:.4g} kJ in all; at the job's min_bits {row.min_bits} "
            f"{row.min_bits_joules:.3g} J"
            for row in self.energy
        ]
        return "\n".join(lines)


Case = Callable[[Order], Result]


def run_cases(
    cases: Mapping[str, Case], names: Sequence[str], order: Order, out: Path | None
) -> list[Result]:
    """Run cases one after the other, and write each to the folder as soon as it is done.

    Raises:
        PotnodeError: there is no such case, or the folder can't be written to.
    """
    unknown = [name for name in names if name not in cases]
    if unknown:
        raise PotnodeError(f"there is no case {unknown[0]!r}: {', '.join(cases)}")
    results = []
    for name in names:
        results.append(cases[name](order))
        if out is not None:
            write(results[-1], out)
    return results


def write(result: Result, folder: Path) -> None:
    """CASE.json, CASE.parquet (a row a point), CASE.svg and CASE.png in the folder.

    Raises:
        PotnodeError: it can't be written to, or matplotlib is missing.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / result.case
        path.with_suffix(".json").write_text(json.dumps(result.document(), indent=1) + "\n")
        pq.write_table(table(result), path.with_suffix(".parquet"))
        draw_curves(result.title, result.curves, result.levels, bits=result.bits, path=path)
    except OSError as error:
        raise PotnodeError(f"can't write to {folder}: {error.strerror}") from error


def table(result: Result) -> pa.Table:
    """All points: case, method, seed, settings, evaluations, seconds, bits, accuracy."""
    rows = [
        {
            "case": result.case,
            "method": curve.method,
            "seed": curve.seed,
            "settings": curve.settings,
            **asdict(point),
        }
        for curve in result.curves
        for point in curve.points
    ]
    return pa.Table.from_pylist(rows)
