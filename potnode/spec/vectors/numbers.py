"""draw.json, literal.json, network.json, loss.json, search.json, state.json, dataset.json,
tree.json.

What the engine must agree with, number for number.
"""

from __future__ import annotations

from potnode.spec import dataset, evaluate, literal, loss, network, schedule, search, state, tree
from potnode.spec.draw import TensorDraw, candidate_key, draw, signs
from potnode.spec.hashing import be32, sha256
from potnode.spec.layers import Linear
from potnode.spec.manifest import Classes, Evolution, Manifest, Seeded, Weights
from potnode.spec.manifest_json import encode_manifest
from potnode.spec.vectors.form import hexed, hexes, number, pattern
from potnode.spec.vectors.ledger import TRAIN, Ledger, dataset_file
from potnode.spec.vectors.models import example_manifests, filled, positions

Document = dict[str, object]

H = sha256(b"a share")


def draw_document() -> Document:
    """Streams of signs, and whole perturbations of the example networks."""
    key = candidate_key(H, 0)
    manifest = example_manifests()["frozen"]
    drawn = draw(manifest, key)
    return {
        "hash": hexed(H),
        "keys": hexes(candidate_key(H, j) for j in (0, 1, 65535)),
        "keyIndices": [0, 1, 65535],
        "signs": signs(key, 3, 1, 520),
        "signsTensor": 3,
        "signsSide": 1,
        "manifest": hexed(encode_manifest(manifest)),
        "train": list(manifest.train),
        "rows": [drawn[t].rows for t in manifest.train],
        "columns": [drawn[t].columns for t in manifest.train],
    }


def literal_document() -> Document:
    """Weights of the literal search, as numerators and as int8."""
    candidates = [
        ("conv1_layer", 0),
        ("conv1_layer", 999_999),
        ("", 1 << 32),
        ("Gewicht ü", 2**64 - 1),
    ]
    return {
        "candidates": [
            {
                "seed": hexed(seed.encode("utf-8")),
                "nonce": number(nonce),
                "numerators": literal.numerators(seed, nonce, 20),
                "smallWeights": literal.small_weights(seed, nonce, 70),
            }
            for seed, nonce in candidates
        ]
    }


def network_document() -> Document:
    """What the example networks give, plain and under a candidate, and rounding of weights."""
    masters = [-40000, -32512, -32640, -129, -128, -127, -1, 0, 1, 127, 128, 383, 384, 32512, 40000]
    precisions = {"int8": Weights(127, 8), "int4": Weights(7, 12), "ternary": Weights(1, 13)}
    return {
        "masters": masters,
        "weights": [network.forward_weight(m, precisions["int8"]) for m in masters],
        "precisions": list(precisions),
        "coarse": [[network.forward_weight(m, w) for m in masters] for w in precisions.values()],
        "networks": [_network(name, m) for name, m in example_manifests().items()],
    }


def _network(name: str, manifest: Manifest) -> Document:
    weights = filled(name, manifest)
    perturbation = draw(manifest, candidate_key(H, 0))
    e = manifest.perturbation[0]
    samples = positions(name, manifest)
    return {
        "name": name,
        "manifest": hexed(encode_manifest(manifest)),
        "weights": weights,
        "hash": hexed(H),
        "shift": e,
        "positions": samples,
        "plain": [network.outputs(manifest, weights, x) for x in samples],
        "perturbed": [network.outputs(manifest, weights, x, perturbation, e) for x in samples],
    }


def loss_document() -> Document:
    """Both tables, and losses of logits with ties, far distances and 2 to 256 classes."""
    spread = [int.from_bytes(pattern(4, f"z{i}"), "big") % 4001 - 2000 for i in range(10)]
    edge = (1 << 23) - 1
    cases = [
        ([0, 0], 0),
        ([0, 0], 1),
        ([1, 0], 1),
        ([256, 0, 0], 2),
        ([-5, 300, 300, 7], 2),
        (spread, 3),
        (spread, 9),
        ([0, 31 * 256 - 1, 0], 1),
        ([0, 31 * 256, 1], 1),
        ([edge, -edge], 1),
        ([0] * 256, 255),
        (list(range(0, 2560, 10)), 17),
    ]
    scores = [(0, 0), (300, -300), (-300, 300), (edge, -edge), (1, 2)]
    values = [(0, 0), (5, -11), (-40000, 32767), (edge, -32768), (100, 84), (0, 32767)]
    return {
        "exp2": list(loss.EXP2),
        "log2": list(loss.LOG2),
        "logits": [z for z, _ in cases],
        "targets": [t for _, t in cases],
        "losses": [loss.cross_entropy(z, t) for z, t in cases],
        "hits": [loss.is_hit(z, t) for z, t in cases],
        "scores": [list(pair) for pair in scores],
        "preferences": [loss.preference(*pair) for pair in scores],
        "values": [list(pair) for pair in values],
        "squaredErrors": [loss.squared_error(*pair) for pair in values],
    }


def search_document() -> Document:
    """Batches, coefficients, step sizes and updates of single weights."""
    batches = [(sha256(b"work"), n, b) for n, b in ((1, 3), (24, 20), (1500, 40), (2**32 - 1, 9))]
    batches.append((sha256(b"other work"), 2**31 + 1, 64))  # nearly half of the words are refused
    losses = [
        [7],
        [5, 5, 5],
        [1, 2],
        [0, 2**40 - 1],
        [100, 90, 110, 100, 3],
        [int.from_bytes(pattern(3, f"loss {i}"), "big") for i in range(64)],
        [0] * 1023 + [2**40 - 1],
    ]
    updates = [
        (rule, master, momentum, slope, eta)
        for rule in ("momentum", "sign_momentum")
        for master, momentum, slope, eta in (
            (0, 0, 0, 80), (0, 0, 1, 80), (0, 0, -1, 80), (100, -4, 0, 1), (-100, 3, 0, 1),
            (32500, 9000, 40, 80), (-32500, -9000, -40, 80), (5, 16646144, 130048, 32767),
            (5, -16646144, -130048, 32767), (77, 1234, -567, 33), (12, 16, -9, 7),
        )
    ]  # fmt: skip
    moved = [search.update(*case) for case in updates]
    lines = [(80, 10), (2, 0), (64, 4096), (7, 7), (0, 3)]
    steps = [0, 1, 7, 50, 99]
    draws = [TensorDraw([1, -1], [1, 1, -1]), TensorDraw([-1, -1], [1, -1, -1])]
    return {
        "batchWorks": hexes(work for work, _, _ in batches),
        "batchTrainCounts": [n for _, n, _ in batches],
        "batches": [search.batch_indices(*batch) for batch in batches],
        "losses": [[number(value) for value in values] for values in losses],
        "coefficients": [search.coefficients(values) for values in losses],
        "lines": [list(line) for line in lines],
        "lineSteps": steps,
        "lineStepLimit": 100,
        "onLines": [[schedule.on_line(*line, step, 100) for step in steps] for line in lines],
        "checkBatch": search.batch_indices(sha256(b"work"), 1500, 20, search.CHECK),
        "best": [search.best(values) for values in losses],
        "updateRules": [case[0] for case in updates],
        "updateMasters": [case[1] for case in updates],
        "updateMomenta": [case[2] for case in updates],
        "updateSlopes": [case[3] for case in updates],
        "updateEtas": [case[4] for case in updates],
        "updatedMasters": [master for master, _ in moved],
        "updatedMomenta": [momentum for _, momentum in moved],
        "gradientRows": [d.rows for d in draws],
        "gradientColumns": [d.columns for d in draws],
        "gradientCoefficients": [127, -30],
        "gradient": search.gradient((2, 3), draws, [127, -30]),
        "gradientBias": search.gradient((2,), draws, [127, -30]),
    }


def state_document(ledgers: dict[str, Ledger]) -> Document:
    """Initial states, and the states of a golden job step by step."""
    return {
        "initial": [
            {
                "name": name,
                "manifest": hexed(encode_manifest(manifest)),
                "masters": [list(m) for m in state.initial_state(manifest).masters],
                "leaves": hexes(
                    state.state_leaves(state.initial_state(manifest), manifest.weights)
                ),
                "root": hexed(state.state_root(state.initial_state(manifest), manifest.weights)),
            }
            for name, manifest in example_manifests().items()
        ],
        "replays": [_replay(ledgers[name]) for name in ("one", "four", "several")],
    }


def _replay(ledger: Ledger) -> Document:
    return {
        "name": ledger.plan.name,
        "manifest": hexed(ledger.manifest_bytes),
        "stepLimit": ledger.params.step_limit,
        "hashes": [hexes(hashes) for hashes in ledger.hashes],
        "candidatesPerShare": ledger.params.candidates_per_share,
        "losses": [
            [loss for entry in record.entries for loss in entry.losses] for record in ledger.records
        ],
        "masters": [[list(m) for m in s.masters] for s in ledger.states],
        "momenta": [[list(m) for m in s.momenta] for s in ledger.states],
        "roots": hexes(state.state_root(s, ledger.manifest.weights) for s in ledger.states),
    }


def dataset_document() -> Document:
    """Golden files of every kind with leaves, roots and proofs, and a validation on the first."""
    data = dataset_file()
    header = dataset.decode_header(data)
    held_out = [dataset.read_sample(data, header, i) for i in range(TRAIN, header.count)]
    small = Manifest(
        dataset="tiny",
        task=Classes(),
        input=(6,),
        layers=(Linear(3, 5, "none"),),
        train=(0,),
        initial=Seeded(sha256(b"seed"), (4096, 0), (0, 0)),
        perturbation=(0, 0),
        strategy=Evolution("momentum", 1, 1, 1),
    )
    weights = network.forward_weights(state.initial_state(small).masters, small.weights)
    validation = evaluate.validation(small, weights, held_out)
    return {
        "files": [_dataset(file) for file in (data, *other_dataset_files())],
        "manifest": hexed(encode_manifest(small)),
        "validationLoss": validation[0],
        "validationHits": validation[1],
    }


def other_dataset_files() -> list[bytes]:
    """A small file of each kind but "classes"."""
    headers = (
        dataset.DatasetHeader("bytes", 3, 2, 9, 256),
        dataset.DatasetHeader("values", 4, 1, 3, 2),
        dataset.DatasetHeader("pairs", 2, 1, 4, 1),
    )
    files = []
    for header in headers:
        data = dataset.encode_header(header)
        for i in range(header.count):
            raw = pattern(header.sample_size, f"{header.kind} {i}")
            inputs = raw[: header.sample_inputs]
            if header.kind != "bytes":  # -128 is no input
                inputs = inputs.replace(b"\x80", b"\x81")
            data += inputs + raw[header.sample_inputs :]
        files.append(data)
    return files


def _dataset(data: bytes) -> Document:
    header = dataset.decode_header(data)
    size = header.sample_size
    raw = [data[dataset.HEADER_SIZE + i * size :][:size] for i in range(header.count)]
    leaves = [dataset.sample_leaf(i, sample) for i, sample in enumerate(raw)]
    samples = [dataset.read_sample(data, header, i) for i in range(header.count)]
    return {
        "file": hexed(data),
        "kind": header.kind,
        "trainCount": header.train_count,
        "heldOutCount": header.held_out_count,
        "inputSize": header.input_size,
        "outputs": header.outputs,
        "inputs": [list(sample.inputs) for sample in samples],
        "targets": [list(sample.targets) for sample in samples],
        "leaves": hexes(leaves),
        "root": hexed(dataset.dataset_root(data)),
        "proofs": [hexes(tree.proof(leaves, i)) for i in range(len(leaves))],
    }


def tree_document() -> Document:
    """Roots of trees of 1 to 20 leaves, and every proof in one of 7."""
    leaves = [sha256(tree.LEAF_TAG + be32(i)) for i in range(20)]
    return {
        "leaves": hexes(leaves),
        "roots": hexes(tree.root(leaves[:count]) for count in range(1, 21)),
        "proofCount": 7,
        "proofs": [hexes(tree.proof(leaves[:7], i)) for i in range(7)],
    }
