"""Losses of many candidates on any device that torch drives, in particular CUDA.

The same numbers as `potnode.engine.network` on the CPU. Responsible for opening the device, for
bounding memory by tiles and for losses; the layers are `potnode.engine.torch_layers`'. torch is
imported only when such a device is asked for. Not responsible for trusting the device:
`potnode.engine.engine` tests it first.

Nothing here goes through torch.compile: it would be as exact, since every sum is, but it needs a
compiler where the node runs, and compiles for seconds whenever a tile has another shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from potnode.engine.draw import DrawLayout, Signs
from potnode.engine.errors import EngineError
from potnode.engine.loss import FARTHEST, FLOAT_ORIGIN, FLOAT_SHIFT, LOGARITHMS, POWERS
from potnode.engine.network import Sums
from potnode.engine.torch_layers import ForwardPass, widest
from potnode.spec.manifest import MAX_VALUE_ERROR, Classes, Manifest, NextByte, Pairs, Values

if TYPE_CHECKING:
    import torch

PREFIX = "torch:"
"""Before a device's name where the name alone means another network: `torch:cpu`."""

# Of the largest tensor of a tile: what keeps a GPU busy; a CPU's caches like it smaller.
_ELEMENTS, _CPU_ELEMENTS = 1 << 26, 1 << 18
_CANDIDATES = 32  # a tile has at least so many if it can: what they share is then worth sharing


def _is_full_precision(torch: ModuleType) -> bool:
    """Whether products of float32 are of all their bits on every device.

    TF32 keeps 11 bits of each factor, bfloat16 8, and neither promises anything of its sums.
    """
    try:
        return bool(torch.get_float32_matmul_precision() == "highest")
    except RuntimeError:  # a single backend was set to less, by the newer of torch's two switches
        return False


class TorchNetwork:
    """`Network` on a torch device."""

    def __init__(self, manifest: Manifest, layout: DrawLayout, device: str) -> None:
        """Open the device: a name torch knows, such as `cuda` or `cuda:1`, or `torch:cpu`.

        Raises:
            EngineError: torch is missing, knows no such device, or is set to round matrix products.
        """
        try:
            import torch
        except ImportError as error:
            raise EngineError(
                f"device {device!r} needs torch: {error}; use device = cpu"
            ) from error
        if not _is_full_precision(torch):
            raise EngineError(
                "torch is set to reduced float32 matrix precision in this process: "
                "call torch.set_float32_matmul_precision('highest') before using the engine"
            )
        try:
            self._device = torch.device(device.removeprefix(PREFIX))
            self._powers = torch.from_numpy(POWERS).to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise EngineError(f"torch can't use device {device!r}: {error}") from error
        self._torch = torch
        self._logarithms = torch.from_numpy(LOGARITHMS).to(self._device)
        self._manifest = manifest
        self._layout = layout
        elements = _CPU_ELEMENTS if self._device.type == "cpu" else _ELEMENTS
        shared, own = widest(manifest)
        # Predictions of one tile, of all its samples and of all its candidates.
        self._most_samples, self._most = elements // shared, elements // own

    def evaluate(
        self,
        weights: Sequence[npt.NDArray[np.int8]],
        signs: Signs,
        inputs: npt.NDArray[np.int8],
        targets: npt.NDArray[np.int32],
        shift: int,
    ) -> Sums:
        """See `Network.evaluate`."""
        losses = np.zeros(len(signs), np.int64)
        hits = np.zeros(len(signs), np.int64)
        if not len(signs):
            return losses, hits
        tensors = [self._moved(w).float() for w in weights]
        task = self._manifest.task
        positions = task.window if isinstance(task, NextByte) else 1
        each = positions * (2 if isinstance(task, Pairs) else 1)
        fitting = min(self._most_samples, self._most // min(len(signs), _CANDIDATES)) // each
        samples = max(1, min(fitting, len(inputs)))
        tile = max(1, self._most // (each * samples))
        for start in range(0, len(inputs), samples):
            part = slice(start, start + samples)
            forward = ForwardPass(
                self._manifest, self._layout, tensors, self._inputs(inputs[part]), positions
            )
            truth = self._truth(inputs[part], targets[part])
            for low in range(0, len(signs), tile):
                drawn = self._moved(signs[low : low + tile]).float()
                warmup = task.warmup if isinstance(task, NextByte) else 0
                loss, hit = self._loss(forward.logits(drawn, shift, warmup), truth)
                losses[low : low + tile] += loss.cpu().numpy()
                hits[low : low + tile] += hit.cpu().numpy()
        return losses, hits

    def _moved(self, values: npt.NDArray[np.generic]) -> torch.Tensor:
        return self._torch.from_numpy(np.array(values)).to(self._device)

    def _inputs(self, inputs: npt.NDArray[np.int8]) -> torch.Tensor:
        """[positions * samples, *input]; of pairs, all preferred inputs before all others."""
        match self._manifest.task:
            case NextByte():
                return self._moved(inputs.view(np.uint8)[:, :-1].T).long().flatten()
            case Pairs():
                pairs = self._moved(inputs).reshape(len(inputs), 2, *self._manifest.input)
                return pairs.movedim(1, 0).flatten(0, 1).float()
            case _:
                return self._moved(inputs).float().reshape(len(inputs), *self._manifest.input)

    def _truth(self, inputs: npt.NDArray[np.int8], targets: npt.NDArray[np.int32]) -> torch.Tensor:
        """int64: the class of every prediction, or [samples, outputs] values."""
        match self._manifest.task:
            case NextByte(_, warmup):
                return self._moved(inputs.view(np.uint8)[:, warmup + 1 :].T).long().flatten()
            case Pairs():
                return self._torch.zeros(len(inputs), dtype=self._torch.int64, device=self._device)
            case _:
                return self._moved(targets).long()

    def _loss(
        self, logits: torch.Tensor, truth: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:  # [candidates] int64 each
        torch = self._torch
        z = logits.to(torch.int32)
        match self._manifest.task:
            case Classes() | NextByte():
                return self._cross_entropy(z, truth)
            case Values(tolerance):
                distance = (z.long() - truth).abs()
                errors = distance.clamp(max=MAX_VALUE_ERROR).square() >> 8
                hit = (distance <= tolerance).all(dim=2)
                return errors.sum(dim=(1, 2)), hit.sum(dim=1, dtype=torch.int64)
            case Pairs():
                scores = z.reshape(len(z), 2, -1).movedim(1, 2)
                loss, _ = self._cross_entropy(scores, truth)
                wins = scores[:, :, 0] > scores[:, :, 1]  # of equal scores neither wins
                return loss, wins.sum(dim=1, dtype=torch.int64)

    def _cross_entropy(
        self, z: torch.Tensor, truth: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        torch = self._torch
        top = z.amax(dim=2)  # [candidates, predictions]
        distances = (top[:, :, None] - z).clamp_(max=FARTHEST)
        totals = self._powers[distances].sum(dim=2, dtype=torch.int32)
        index = (totals.to(torch.float32).view(torch.int32) >> FLOAT_SHIFT) - FLOAT_ORIGIN
        own = z.gather(2, truth[None, :, None].expand(len(z), -1, 1))[:, :, 0]
        loss = (self._logarithms[index] + top - own).sum(dim=1, dtype=torch.int64)
        # The true class wins if it reaches the maximum and no class below it does.
        classes = torch.arange(z.shape[2], device=self._device)
        earlier = (z == top[:, :, None]) & (classes < truth[:, None])
        hit = (own == top) & ~earlier.any(dim=2)
        return loss, hit.sum(dim=1, dtype=torch.int64)
