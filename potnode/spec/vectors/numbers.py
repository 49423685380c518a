"""draw.json, network.json, loss.json, search.json, state.json, dataset.json, tree.json.

What the engine must agree with, number for number.
"""

from __future__ import annotations

from potnode.spec import dataset, evaluate, loss, network, search, state, tree
from potnode.spec.draw import TensorDraw, candidate_key, draw, signs
from potnode.spec.hashing import be32, sha256
from potnode.spec.manifest import Linear, Manifest, encode_manifest
from potnode.spec.vectors.form import hexed, hexes, number, pattern
from potnode.spec.vectors.ledger import Ledger, dataset_file

Document = dict[str, object]

H = sha256(b"a share")


def _signed(data: bytes) -> list[int]:
    """Bytes as integers -127..127."""
    return [max(-127, b - 256 if b > 127 else b) for b in data]


def example_manifests() -> dict[str, Manifest]:
    """Networks of several shapes: one layer, both activations, frozen tensors, several chunks."""
    return {
        "linear": Manifest(
            layers=(Linear(5, 2, 0, "none"),), train=(0, 1), std=(4096, 0),
            perturbation_shift=0, rule="momentum",
            dataset="tiny", seed=sha256(b"seed"), eta0=80, eta1=10,
        ),
        "relu": Manifest(
            layers=(Linear(9, 7, 5, "relu"), Linear(7, 4, 3, "none")), train=(0, 1, 2, 3),
            std=(4096, 0, 5439, 0), perturbation_shift=2, rule="sign_momentum",
            dataset="tiny", seed=sha256(b"seed"), eta0=80, eta1=10,
        ),
        "frozen": Manifest(
            layers=(Linear(20, 13, 7, "clip"), Linear(13, 8, 6, "relu"), Linear(8, 3, 2, "none")),
            train=(1, 2, 4), std=(4096, 0, 2000, 0, 1, 0),
            perturbation_shift=6, rule="momentum",
            dataset="tiny", seed=sha256(b"seed"), eta0=80, eta1=10,
        ),
    }  # fmt: skip


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


def network_document() -> Document:
    """Logits of the example networks, plain and under a candidate, and rounding of weights."""
    masters = [-40000, -32512, -32640, -129, -128, -127, -1, 0, 1, 127, 128, 383, 384, 32512, 40000]
    return {
        "masters": masters,
        "weights": [network.forward_weight(m) for m in masters],
        "networks": [_network(name, m) for name, m in example_manifests().items()],
    }


def _network(name: str, manifest: Manifest) -> Document:
    weights = network.forward_weights(state.initial_state(manifest).masters)
    for t in range(1, len(weights), 2):  # biases start at 0; here they take part
        weights[t] = _signed(pattern(len(weights[t]), f"{name} bias {t}"))
    perturbation = draw(manifest, candidate_key(H, 0))
    size = manifest.layers[0].inputs
    inputs = [_signed(pattern(size, f"{name} {i}")) for i in range(4)]
    inputs += [[127] * size, [-127] * size, [0] * size]
    return {
        "name": name,
        "manifest": hexed(encode_manifest(manifest)),
        "weights": weights,
        "hash": hexed(H),
        "inputs": inputs,
        "plain": [network.logits(manifest, weights, x) for x in inputs],
        "perturbed": [network.logits(manifest, weights, x, perturbation) for x in inputs],
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
    return {
        "exp2": list(loss.EXP2),
        "log2": list(loss.LOG2),
        "logits": [z for z, _ in cases],
        "targets": [t for _, t in cases],
        "losses": [loss.cross_entropy(z, t) for z, t in cases],
        "hits": [loss.is_hit(z, t) for z, t in cases],
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
    manifest = example_manifests()["linear"]
    steps = [0, 1, 7, 50, 99]
    draws = [TensorDraw([1, -1], [1, 1, -1]), TensorDraw([-1, -1], [1, -1, -1])]
    return {
        "batchWorks": hexes(work for work, _, _ in batches),
        "batchTrainCounts": [n for _, n, _ in batches],
        "batches": [search.batch_indices(*batch) for batch in batches],
        "losses": [[number(value) for value in values] for values in losses],
        "coefficients": [search.coefficients(values) for values in losses],
        "eta0": manifest.eta0,
        "eta1": manifest.eta1,
        "etaSteps": steps,
        "etaStepLimit": 100,
        "etas": [search.step_size(manifest, step, 100) for step in steps],
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
                "leaves": hexes(state.state_leaves(state.initial_state(manifest))),
                "root": hexed(state.state_root(state.initial_state(manifest))),
            }
            for name, manifest in example_manifests().items()
        ],
        "replays": [_replay(ledgers[name]) for name in ("one", "four")],
    }


def _replay(ledger: Ledger) -> Document:
    return {
        "name": ledger.plan.name,
        "manifest": hexed(ledger.manifest_bytes),
        "stepLimit": ledger.params.step_limit,
        "hashes": [hexes(hashes) for hashes in ledger.hashes],
        "losses": [[entry.loss for entry in record.entries] for record in ledger.records],
        "masters": [[list(m) for m in s.masters] for s in ledger.states],
        "momenta": [[list(m) for m in s.momenta] for s in ledger.states],
        "roots": hexes(state.state_root(s) for s in ledger.states),
    }


def dataset_document() -> Document:
    """The golden dataset file, its leaves, root and proofs, and a network's validation on it."""
    data = dataset_file()
    header = dataset.decode_header(data)
    size = header.sample_size
    raw = [data[dataset.HEADER_SIZE + i * size :][:size] for i in range(header.count)]
    leaves = [dataset.sample_leaf(i, sample) for i, sample in enumerate(raw)]
    samples = [dataset.read_sample(data, header, i) for i in range(header.count)]
    manifest = example_manifests()["relu"]
    small = Manifest(
        dataset="tiny", layers=(Linear(6, 3, 5, "none"),), train=(0,), seed=manifest.seed,
        std=(4096, 0), perturbation_shift=0, rule="momentum", eta0=1, eta1=1,
    )  # fmt: skip
    weights = network.forward_weights(state.initial_state(small).masters)
    validation = evaluate.validation(small, weights, samples[header.train_count :])
    return {
        "file": hexed(data),
        "trainCount": header.train_count,
        "heldOutCount": header.held_out_count,
        "inputSize": header.input_size,
        "classes": header.classes,
        "inputs": [inputs for inputs, _ in samples],
        "targets": [target for _, target in samples],
        "leaves": hexes(leaves),
        "root": hexed(dataset.dataset_root(data)),
        "proofs": [hexes(tree.proof(leaves, i)) for i in range(len(leaves))],
        "manifest": hexed(encode_manifest(small)),
        "validationLoss": validation[0],
        "validationHits": validation[1],
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
