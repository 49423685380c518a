"""The cases of `potnode bench train`: which model, which data, and what stands beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from potnode.bench.energy import Energy, energy
from potnode.bench.peers import evosax_curve
from potnode.bench.train import Case, Order, Result
from potnode.bench.train_curves import Curve, search_curve
from potnode.bench.train_parents import Parents, parents_curve
from potnode.data.dataset import Dataset
from potnode.jobfile import JobFile, job_file
from potnode.search import Search
from potnode.spec.manifest import Manifest
from potnode.spec.manifest_json import decode_manifest

_MNIST, _TEXT, _DIGITS = "mnist-t10k", "tinyshakespeare", "digits"
_MLP = (784, 64, 10)
_BACKPROP_MOST = 4096  # minibatches of backprop beside a search, which need no more
_NOBODY = bytes(20)


def mnist_mlp(order: Order) -> Result:
    """784-64-10 on 8,000 images, beside evosax on the same net, and backprop."""
    dataset = order.catalog.by_name(_MNIST)
    curves: list[Curve] = []
    budgets = _budgets(order, 65_536, 262_144)
    for seed in range(order.seeds):
        curves += [
            _candidates(order, dataset, {"preset": "mnist-mlp"}, budget, seed) for budget in budgets
        ]
        peer = evosax_curve(
            _MLP,
            dataset,
            population=256,
            batch=256,
            evaluations=budgets[0],
            seed=seed,
            report=order.report,
        )
        curves += [] if peer is None else [peer]
        curves += _backprop(order, dataset, {"preset": "mnist-mlp"}, budgets[0], seed)
    return Result(
        "mnist-mlp",
        "MNIST (10,000-image file, 8,000 to train), 784-64-10",
        tuple(curves),
        _energy(order, curves[0], "mnist-mlp", dataset),
    )


def mnist_conv(order: Order) -> Result:
    """The preset `mnist-conv`, beside backprop."""
    dataset = order.catalog.by_name(_MNIST)
    [budget] = _budgets(order, 131_072)
    curves: list[Curve] = []
    for seed in range(order.seeds):
        curves.append(_candidates(order, dataset, {"preset": "mnist-conv"}, budget, seed))
        curves += _backprop(order, dataset, {"preset": "mnist-conv"}, budget, seed)
    return Result(
        "mnist-conv",
        "MNIST (10,000-image file, 8,000 to train), two convolutions and a linear layer",
        tuple(curves),
        _energy(order, curves[0], "mnist-conv", dataset),
    )


def char_gru(order: Order) -> Result:
    """The preset `char-gru` on Shakespeare, beside backprop and what counts of bytes give."""
    from potnode.bench.train_backprop import text_entropies

    dataset = order.catalog.by_name(_TEXT)
    document = {"preset": "char-gru"}
    [budget] = _budgets(order, 262_144)
    curves: list[Curve] = []
    for seed in range(order.seeds):
        curves.append(_candidates(order, dataset, document, budget, seed))
        curves += _backprop(order, dataset, document, min(budget, 2048), seed, batch=32)
    warmup = _file(document, dataset).task.warmup or 0
    return Result(
        "char-gru",
        "tinyshakespeare, next byte, integer GRU",
        tuple(curves),
        _energy(order, curves[0], "char-gru", dataset),
        text_entropies(dataset, warmup),
        bits=True,
    )


def strategies(order: Order) -> Result:
    """Every strategy on the digits job, and selection with mutation over a few parents."""
    dataset = order.catalog.by_name(_DIGITS)
    [budget] = _budgets(order, 40_000)
    preset = {"preset": "digits-mlp"}
    curves: list[Curve] = []
    for seed in range(order.seeds):
        for method, search in _STRATEGIES.items():
            document = preset | {"search": search}
            curves.append(_candidates(order, dataset, document, budget, seed, method))
        manifest = _search(preset, dataset, 1, seed).manifest
        how = Parents()
        curves.append(parents_curve(manifest, dataset, how, budget, seed=seed, report=order.report))
    return Result("strategies", "scikit-learn's digits, 64-32-10, by strategy", tuple(curves))


def precision(order: Order) -> Result:
    """784-64-10 with coarse forward weights, its masters as fine as ever."""
    dataset = order.catalog.by_name(_MNIST)
    [budget] = _budgets(order, 65_536)
    curves = []
    for seed in range(order.seeds):
        for weights, changed in _PRECISIONS.items():
            document = {"preset": "mnist-mlp", "model": {"weights": weights} | changed["model"]}
            document["search"] = changed["search"]
            curves.append(_candidates(order, dataset, document, budget, seed, weights))
    return Result("precision", "MNIST, 784-64-10, by precision of its weights", tuple(curves))


def finetune(order: Order) -> Result:
    """A torch model that knows the digits 0-4; candidates train its last layer to know all ten."""
    from torch import nn

    from potnode.bench.train_backprop import Backprop, backprop_curve
    from potnode.fromtorch import draft_from_torch

    dataset = order.catalog.by_name(_MNIST)
    [budget] = _budgets(order, 16_384)
    curves: list[Curve] = []
    for seed in range(order.seeds):
        net, learnt = pretrained(dataset, seed)
        order.report(f"pretrained on the digits 0-4: {learnt:.4f} of all ten right")
        file = job_file(
            {"dataset": _MNIST, "model": {"train": [_HEAD], "input_scale": 1 / 32}}
            | {"search": dict(_FINETUNE)},
            "finetune",
        )
        made = draft_from_torch(net, file, dataset, owner=_NOBODY, operator=_NOBODY)
        manifest = decode_manifest(made.draft.manifest)
        search = Search(
            manifest,
            dataset,
            population=file.search.population,
            batch_size=file.search.batch_size[1],
            steps=_steps(file, budget),
            seed=seed,
            imported=made.weights,
        )
        curves.append(
            search_curve(
                "candidates, last layer",
                search,
                budget,
                seed=seed,
                settings=_settings(file, search),
                report=order.report,
            )
        )
        scratch = {"model": {"hidden": [_FEATURES]}, "search": dict(_FROM_SCRATCH)}
        curves.append(
            _candidates(order, dataset, scratch, budget, seed, "candidates, from scratch")
        )
        for parameter in net[:-1].parameters():
            parameter.requires_grad = False
        curves.append(
            backprop_curve(
                manifest,
                dataset,
                Backprop("adam", 1e-3, 128),
                min(budget, _BACKPROP_MOST),
                seed=seed,
                report=order.report,
                method="backprop, last layer",
                net=nn.Sequential(nn.Flatten(), *net),
            )
        )
    return Result(
        "finetune",
        "A torch MLP that knows the digits 0-4, its last layer trained to know all ten",
        tuple(curves),
    )


def pretrained(dataset: Dataset, seed: int) -> tuple[Any, float]:
    """A torch MLP trained on the digits 0-4 alone, and its accuracy on all ten.

    Its outputs are ten; the five it was never asked for have had no reason to be right.
    """
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    from potnode.bench.train_backprop import one_thread

    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(784, _FEATURES), nn.ReLU(), nn.Linear(_FEATURES, 10))
    inputs = torch.from_numpy(dataset.inputs.astype(np.float32) / 32)
    targets = torch.from_numpy(dataset.targets.copy()).long()
    held = dataset.header.train_count
    known = (targets[:held] < 5).nonzero()[:, 0]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-4)
    with one_thread():
        for _ in range(_PRETRAINING):
            rows = known[torch.randint(len(known), (128,))]
            optimizer.zero_grad()
            loss = cross_entropy(net(inputs[rows]), targets[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        right = (net(inputs[held:]).argmax(dim=1) == targets[held:]).float().mean()
    return net, float(right)


_HEAD = "2"  # the name of the last layer in the Sequential
_FEATURES, _PRETRAINING = 512, 1000
_FINETUNE: dict[str, Any] = {
    "population": 16,
    "batch_size": [256, 512],
    "perturbation": [2, 1],
    "eta": [150, 10],
}
_FROM_SCRATCH: dict[str, Any] = {
    "population": 32,
    "batch_size": [256, 512],
    "perturbation": [1, 0],
    "eta": [50, 5],
}
_STRATEGIES: dict[str, dict[str, Any]] = {
    "evolution, momentum": {"population": 64, "batch_size": 512, "eta": [80, 10]},
    "evolution, sign momentum": {
        "population": 64,
        "batch_size": 512,
        "rule": "sign_momentum",
        "perturbation": [1, 0],
        "eta": [60, 2],
    },
    "greedy": {
        "strategy": "greedy",
        "population": 8,
        "batch_size": [512, 1024],
        "perturbation": [2, 0],
    },
}
_PRECISIONS: dict[str, dict[str, dict[str, Any]]] = {
    "int8": {"model": {}, "search": {}},
    "int4": {"model": {}, "search": {}},
    "ternary": {
        "model": {},
        "search": {"population": 64, "batch_size": [512, 2048], "eta": [250, 5]},
    },
}
CASES: dict[str, Case] = {
    "mnist-mlp": mnist_mlp,
    "mnist-conv": mnist_conv,
    "char-gru": char_gru,
    "finetune": finetune,
    "strategies": strategies,
    "precision": precision,
}


def _budgets(order: Order, *usual: int) -> Sequence[int]:
    return usual if order.evaluations is None else (order.evaluations,)


def _file(document: dict[str, Any], dataset: Dataset) -> JobFile:
    return job_file({"dataset": dataset.name} | document, "bench train")


def _steps(file: JobFile, budget: int) -> int:
    """Steps that take about so many evaluations."""
    first, last = file.search.population
    return max(1, round(2 * budget / (first + last)))


def _search(document: dict[str, Any], dataset: Dataset, budget: int, seed: int) -> Search:
    file = _file(document, dataset)
    return Search.of_job_file(file, dataset, seed=seed, steps=_steps(file, budget))


def _candidates(
    order: Order,
    dataset: Dataset,
    document: dict[str, Any],
    budget: int,
    seed: int,
    method: str | None = None,
) -> Curve:
    file = _file(document, dataset)
    search = _search(document, dataset, budget, seed)
    return search_curve(
        method or f"candidates, {budget:,}",
        search,
        budget,
        seed=seed,
        settings=_settings(file, search),
        report=order.report,
    )


def _settings(file: JobFile, search: Search) -> str:
    numbers = file.search
    line = "{} to {}".format
    evolves = numbers.strategy == "evolution"
    how = f"{numbers.rule}, eta {line(*numbers.eta)}" if evolves else f"margin {numbers.margin}"
    return (
        f"{numbers.strategy}, {how}, population {line(*numbers.population)}, "
        f"batch {line(*numbers.batch_size)}, e {line(*numbers.perturbation)}, "
        f"{search.manifest.parameters} parameters"
    )


def _backprop(
    order: Order,
    dataset: Dataset,
    document: dict[str, Any],
    evaluations: int,
    seed: int,
    *,
    batch: int = 128,
) -> list[Curve]:
    from potnode.bench.train_backprop import Backprop, backprop_curve

    manifest: Manifest = _search(document, dataset, 1, seed).manifest
    count = min(evaluations, _BACKPROP_MOST)
    return [
        backprop_curve(manifest, dataset, how, count, seed=seed, report=order.report)
        for how in (Backprop("sgd", 0.05, batch), Backprop("adam", 1e-3, batch))
    ]


def _energy(order: Order, curve: Curve, preset: str, dataset: Dataset) -> tuple[Energy, ...]:
    numbers = _file({"preset": preset}, dataset).search
    last = curve.last
    return tuple(
        energy(
            last.evaluations,
            last.seconds,
            min_bits=numbers.min_bits,
            candidates_per_share=numbers.candidates_per_share,
        )
    )
