"""Models of torch on their way to jobs and back: converted, calibrated, and loaded again.

`load` gives a torch module that computes exactly what a job's model computes. Nothing else in
potnode imports this package before it is asked to, for torch takes seconds to load.
"""

from potnode.torchmodel.integers import IntegerModel, load

__all__ = ["IntegerModel", "load"]
