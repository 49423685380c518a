"""Models and searches by name: `preset = "mnist-conv"` in a job file.

A preset is the text of a job file, so all it says can be read, and changed or written by hand. What
a job file says beside `preset` goes before it. Figures are in docs/benchmarks.md.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

from potnode.config import nearest
from potnode.errors import JobFileError


@dataclass(frozen=True, slots=True)
class Preset:
    """summary: one line for lists. text: TOML of a job file."""

    name: str
    summary: str
    text: str

    @property
    def document(self) -> dict[str, Any]:
        """The text as tables."""
        return tomllib.loads(self.text)


def preset(name: str) -> Preset:
    """The preset of this name. JobFileError, with the nearest known name, where there is none."""
    if name not in PRESETS:
        known = list(PRESETS)
        raise JobFileError(
            f"there is no preset {name!r}{nearest(name, known) or ': ' + ', '.join(known)}"
        )
    return PRESETS[name]


_ALL = (
    Preset(
        "digits-mlp",
        "handwritten digits of 8 x 8 pixels, 64-32-10: the job of a node without any",
        """
dataset = "digits"
[model]
hidden = [32]
hidden_shift = 8
output_shift = 4
[search]
population = [32, 96]
batch_size = [512, 2000]
eta = [64, 4]
steps = 400
validate_every = 25
""",
    ),
    Preset(
        "mnist-mlp",
        "images of 28 x 28 pixels, 784-64-10",
        """
dataset = "mnist"
[model]
hidden = [64]
hidden_shift = 9
output_shift = 5
[search]
population = [32, 96]
batch_size = [512, 4096]
perturbation = [1, 0]
eta = [48, 1]
steps = 4096
validate_every = 64
""",
    ),
    Preset(
        "mnist-conv",
        "images of 28 x 28 pixels, two convolutions with pooling and a linear layer",
        """
dataset = "mnist"
[model]
input = [1, 28, 28]
init_std = 20
[[model.layers]]
type = "conv2d"
out = 8
kernel = 5
[[model.layers]]
type = "maxpool"
kernel = 2
[[model.layers]]
type = "conv2d"
out = 16
kernel = 5
[[model.layers]]
type = "maxpool"
kernel = 2
[[model.layers]]
name = "head"
type = "linear"
[search]
population = [32, 96]
batch_size = [256, 1536]
perturbation = [1, 0]
eta = [70, 1]
steps = 2048
validate_every = 64
""",
    ),
    Preset(
        "mobile-conv",
        "images of 28 x 28 pixels, blocks as MobileNet has them: depthwise and 1 x 1 convolutions",
        """
dataset = "mnist"
[model]
input = [1, 28, 28]
[[model.layers]]
name = "stem"
type = "conv2d"
out = 16
kernel = 3
stride = 2
pad = 1
[[model.layers]]
name = "block1.depthwise"
type = "depthwise"
kernel = 3
pad = 1
[[model.layers]]
name = "block1.pointwise"
type = "conv2d"
out = 16
kernel = 1
activation = "clip"
[[model.layers]]
name = "block1.residual"
type = "add"
from = "stem"
[[model.layers]]
name = "block2.depthwise"
type = "depthwise"
kernel = 3
stride = 2
pad = 1
[[model.layers]]
name = "block2.pointwise"
type = "conv2d"
out = 32
kernel = 1
[[model.layers]]
name = "pool"
type = "avgpool"
kernel = 3
stride = 2
[[model.layers]]
name = "head"
type = "linear"
[search]
population = 128
batch_size = 1024
eta = [120, 15]
steps = 1024
validate_every = 32
""",
    ),
    Preset(
        "char-gru",
        "text as bytes, one integer GRU of 64; windows of 64 bytes are usual",
        """
dataset = "tinyshakespeare"
[model]
init_std = 20
[[model.layers]]
name = "embedding"
type = "embedding"
out = 64
[[model.layers]]
name = "gru"
type = "gru"
out = 64
shift = 9
[[model.layers]]
type = "norm"
[[model.layers]]
name = "head"
type = "linear"
shift = 5
[task]
warmup = 8
[search]
population = [64, 128]
batch_size = 64
eta = [70, 2]
steps = 2048
validate_every = 64
""",
    ),
)
PRESETS: dict[str, Preset] = {each.name: each for each in _ALL}
