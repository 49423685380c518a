"""Plots of training curves, as SVG and PNG, by matplotlib where it is installed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from potnode.bench.train_curves import Curve
from potnode.errors import PotnodeError

_INCHES = (9.6, 3.8)
_DPI = 80


def draw_curves(
    title: str, curves: Sequence[Curve], levels: Mapping[str, float], *, bits: bool, path: Path
) -> list[Path]:
    """Draw held-out accuracy, or bits, over evaluations and over seconds; both axes logarithmic.

    Args:
        levels: horizontal lines by name, in bits. path: without a suffix; .svg and .png are added.

    Raises:
        PotnodeError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PotnodeError(
            f"plots need matplotlib ({error}): pip install 'potnode[bench]', or leave out --out"
        ) from error
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    colours = {m: f"C{i % 10}" for i, m in enumerate(dict.fromkeys(c.method for c in curves))}
    for at, (axis, name) in enumerate(zip(axes, ("evaluations", "seconds"), strict=True)):
        named: set[str] = set()
        for curve in curves:
            axis.plot(
                [max(getattr(p, name), 1e-3) for p in curve.points],
                [p.bits if bits else p.accuracy for p in curve.points],
                color=colours[curve.method],
                linewidth=1.4,
                label=curve.method if at == 0 and curve.method not in named else None,
            )
            named.add(curve.method)
        for label, level in levels.items():
            axis.axhline(level, color="0.5", linewidth=0.8, linestyle="--")
            axis.annotate(
                label, (0.01, level), xycoords=("axes fraction", "data"), fontsize=7, va="bottom"
            )
        axis.set_xscale("log")
        axis.set_xlabel(name)
        axis.grid(visible=True, linewidth=0.3)
    axes[0].set_ylabel("held-out bits a byte" if bits else "held-out accuracy")
    figure.suptitle(title, fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, fontsize=7)
    written = []
    for suffix in (".svg", ".png"):
        # A fixed salt and no date: the same curves are the same file.
        buffer = io.BytesIO()
        metadata = {"Date": None} if suffix == ".svg" else {"Software": None}
        with rc_context({"svg.hashsalt": "potnode"}):
            figure.savefig(buffer, format=suffix[1:], dpi=_DPI, metadata=metadata)
        written.append(path.with_suffix(suffix))
        written[-1].write_bytes(buffer.getvalue())
    return written
