"""Losses of many candidates on any device that torch drives, in particular CUDA.

The same numbers as `potnode.engine.network` on the CPU. torch is imported only when such a device
is asked for. Not responsible for trusting the device: `potnode.engine.engine` tests it first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from potnode.engine.draw import DrawLayout, Signs
from potnode.engine.errors import EngineError
from potnode.engine.loss import FARTHEST, FLOAT_ORIGIN, FLOAT_SHIFT, LOGARITHMS, POWERS
from potnode.engine.network import Sums, carrier
from potnode.spec.manifest import Linear, Manifest
from potnode.spec.network import BIAS_SHIFT

if TYPE_CHECKING:
    import torch

_ELEMENTS = 1 << 26  # of the largest tensor of a tile
_LOWEST = {"relu": 0.0, "clip": -127.0}


class TorchNetwork:
    """`Network` on a torch device."""

    def __init__(self, manifest: Manifest, layout: DrawLayout, device: str) -> None:
        """Open the device.

        Raises:
            EngineError: torch is missing, knows no such device, or is set to round matrix products.
        """
        try:
            import torch
        except ImportError as error:
            raise EngineError(
                f"device {device!r} needs torch: {error}; use device = cpu"
            ) from error
        # TF32 keeps 11 bits of each factor and promises nothing of its sums.
        if torch.get_float32_matmul_precision() != "highest":
            raise EngineError(
                "torch is set to reduced float32 matrix precision in this process: "
                "call torch.set_float32_matmul_precision('highest') before using the engine"
            )
        try:
            self._device = torch.device(device)
            self._powers = torch.from_numpy(POWERS).to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise EngineError(f"torch can't use device {device!r}: {error}") from error
        self._torch = torch
        self._logarithms = torch.from_numpy(LOGARITHMS).to(self._device)
        self._layers = manifest.layers
        self._places = layout.places
        self._scale = 1 << manifest.perturbation_shift
        self._dtype = torch.float32 if carrier(manifest) is np.float32 else torch.float64

    def evaluate(
        self,
        weights: Sequence[npt.NDArray[np.int8]],
        signs: Signs,
        inputs: npt.NDArray[np.int8],
        targets: npt.NDArray[np.int32],
    ) -> Sums:
        """See `Network.evaluate`."""
        torch = self._torch
        losses = np.zeros(len(signs), np.int64)
        hits = np.zeros(len(signs), np.int64)
        tensors = [self._moved(w) for w in weights]
        widest = max(layer.out for layer in self._layers)
        largest = max((layer.inputs * layer.out for layer in self._layers[1:]), default=1)
        samples = max(1, min(len(targets), _ELEMENTS // widest))
        tile = max(1, _ELEMENTS // max(samples * widest, largest))
        for start in range(0, len(targets), samples):
            part = slice(start, start + samples)
            x = self._moved(inputs[part])
            truth = torch.from_numpy(targets[part].astype(np.int64)).to(self._device)
            base = x @ self._matrix(tensors, 0).T + tensors[1] * (1 << BIAS_SHIFT)
            for low in range(0, len(signs), tile):
                z = self._logits(tensors, self._moved(signs[low : low + tile]), x, base)
                loss, hit = self._loss(z, truth)
                losses[low : low + tile] += loss.cpu().numpy()
                hits[low : low + tile] += hit.cpu().numpy()
        return losses, hits

    def _moved(self, values: npt.NDArray[np.int8]) -> torch.Tensor:
        tensor = self._torch.from_numpy(np.array(values)).to(self._device)
        return tensor.to(self._dtype)

    def _matrix(self, tensors: Sequence[torch.Tensor], layer: int) -> torch.Tensor:
        shape = self._layers[layer]
        return tensors[2 * layer].reshape(shape.out, shape.inputs)

    def _logits(
        self,
        tensors: Sequence[torch.Tensor],
        signs: torch.Tensor,  # [T, width]
        x: torch.Tensor,  # [n, inputs of layer 0]
        base: torch.Tensor,  # [n, out of layer 0]
    ) -> torch.Tensor:  # [T, n, classes] int32
        first, bias = self._places[0], self._places[1]
        scaled = signs * self._scale
        projection = scaled[:, first.columns] @ x.T  # [T, n]
        y = base + projection[:, :, None] * signs[:, None, first.rows]
        y += scaled[:, None, bias.rows] * (1 << BIAS_SHIFT)
        y = self._shifted(y, self._layers[0])
        for i, layer in enumerate(self._layers[1:], start=1):
            matrix, bias = self._places[2 * i], self._places[2 * i + 1]
            rows, columns = scaled[:, matrix.rows, None], signs[:, None, matrix.columns]
            dense = self._matrix(tensors, i) + rows * columns  # [T, out, inputs]
            biases = (tensors[2 * i + 1] + scaled[:, bias.rows]) * (1 << BIAS_SHIFT)
            y = self._shifted(y @ dense.transpose(1, 2) + biases[:, None, :], layer)
        return y.to(self._torch.int32)

    def _shifted(self, values: torch.Tensor, layer: Linear) -> torch.Tensor:
        shifted = self._torch.floor(values * 2.0**-layer.shift)
        if layer.activation == "none":
            return shifted
        return shifted.clamp_(_LOWEST[layer.activation], 127.0)

    def _loss(
        self, z: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:  # [T] int64 each
        torch = self._torch
        top = z.amax(dim=2)  # [T, n]
        distances = (top[:, :, None] - z).clamp_(max=FARTHEST)
        totals = self._powers[distances].sum(dim=2, dtype=torch.int32)
        index = (totals.to(torch.float32).view(torch.int32) >> FLOAT_SHIFT) - FLOAT_ORIGIN
        own = z.gather(2, targets[None, :, None].expand(len(z), -1, 1))[:, :, 0]
        loss = (self._logarithms[index] + top - own).sum(dim=1, dtype=torch.int64)
        # The true class wins if it reaches the maximum and no class below it does.
        classes = torch.arange(z.shape[2], device=self._device)
        earlier = (z == top[:, :, None]) & (classes < targets[:, None])
        hit = (own == top) & ~earlier.any(dim=2)
        return loss, hit.sum(dim=1, dtype=torch.int64)
