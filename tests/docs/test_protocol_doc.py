"""docs/protocol.md says what the code does: tags, sizes and limits are read out of its text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from potnode.spec import (
    dataset,
    draw,
    layers,
    literal,
    loss,
    manifest,
    manifest_json,
    network,
    params,
    record,
    search,
    state,
    work,
)
from potnode.spec.vectors.models import example_manifests

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
FLAT = " ".join(TEXT.split())
SPEC = {
    path.name: path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "potnode" / "spec").glob("*.py"))
}


def _section(number: int) -> str:
    return TEXT.split(f"\n## {number}. ")[1].split("\n## ")[0]


def test_sections_are_numbered_one_to_nine() -> None:
    assert re.findall(r"^## (\d+)\. ", TEXT, re.MULTILINE) == [str(n) for n in range(1, 10)]


def test_every_section_the_code_cites_exists() -> None:
    cited = {
        int(number)
        for source in SPEC.values()
        for number in re.findall(r"docs/protocol\.md sections? (\d+)", source)
    }
    assert cited
    assert cited <= set(range(1, 10))


def test_domain_tags_are_those_of_the_code() -> None:
    in_code = {tag for source in SPEC.values() for tag in re.findall(r'b"(potnode/[^"]+)"', source)}
    in_text = set(re.findall(r'"(potnode/[^"]+)"', TEXT))
    assert in_text == in_code
    assert len(in_code) == 9


def test_params_are_the_struct_in_its_order() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", _section(1), re.MULTILINE)
    expected = [
        (re.sub(r"_(\w)", lambda m: m[1].upper(), name), abi_type)
        for name, abi_type in params.ABI_TYPES.items()
    ]
    assert rows == expected
    assert f"A static ABI struct of {len(params.ABI_TYPES)} words" in FLAT


def test_params_are_the_struct_of_the_contract() -> None:
    interface = (ROOT / "contracts" / "src" / "interfaces" / "IPot.sol").read_text("utf-8")
    struct = interface.split("struct JobParams {")[1].split("}")[0]
    fields = re.findall(r"^    (\w+) (\w+);", struct, re.MULTILINE)
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", _section(1), re.MULTILINE)
    assert [(name, abi_type) for abi_type, name in fields] == rows


def _keys(value: object) -> set[str]:
    """Every key of an object and of those within it."""
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in _keys(item)}
    if isinstance(value, list):
        return {key for item in value for key in _keys(item)}
    return set()


def test_manifest_keys_are_those_of_a_manifest() -> None:
    examples = [json.loads(manifest_json.encode_manifest(m)) for m in example_manifests().values()]
    text = _section(1).split("### Manifest")[1]
    rows = set(re.findall(r"^\| `(\w+)` \|", text.split("**Task.**")[0], re.MULTILINE))
    for document in examples:
        assert rows == set(document)
    inner = {key for document in examples for key in _keys(document)} - rows | {"file"}
    assert {"from", "kernel", "margin", "mean", "tolerance", "warmup"} <= inner
    for key in inner:
        assert f'"{key}"' in text or f"`{key}`" in text
    for rule in manifest.RULES:
        assert f'"{rule}"' in text
    for activation in layers.ACTIVATIONS:
        assert f"`{activation}`" in text


def test_every_layer_has_a_row_with_its_keys_and_a_rule() -> None:
    rows = {
        name: (keys, tensors)
        for names, keys, tensors in re.findall(
            r"^\| (`[a-z0-9`, ]+`) \|([^|]*)\|[^|]*\|[^|]*\|([^|]*)\|$", _section(1), re.MULTILINE
        )
        for name in re.findall(r"`(\w+)`", names)
    }
    assert set(rows) >= set(manifest_json.LAYER_TYPES)
    shown = {
        layer["type"]: (layer, document)
        for document in (
            json.loads(manifest_json.encode_manifest(m)) for m in example_manifests().values()
        )
        for layer in document["model"]
    }
    for name in manifest_json.LAYER_TYPES:
        keys, tensors = rows[name]
        assert set(re.findall(r"`(\w+)`", keys)) == set(shown[name][0]) - {"type"}
        assert bool(tensors.strip()) == (name not in ("maxpool", "avgpool", "relu", "add"))
        assert f"**{name}**" in _section(3)


def test_every_task_and_strategy_is_named() -> None:
    for kind in dataset.KINDS:
        assert f'"type": "{kind}"' in _section(1)
        assert f"**{kind}**" in _section(3)
    for kind in ("evolution", "greedy"):
        assert f'"type": "{kind}"' in _section(1)
        assert f"### {kind.capitalize()}" in _section(5)


@pytest.mark.parametrize(
    "fact",
    [
        f"candidates of a step at the job's end: 1 to {params.MAX_POPULATION:,}",
        f"candidates of a share: 1 to {params.MAX_CANDIDATES_PER_SHARE}",
        f"at most {params.MAX_SHARES}, and at most {params.MAX_SHARES_OF_MANY} if p1",
        f"if p1 is above {params.MANY_CANDIDATES:,} (section 7",
        f"samples of a step's batch: 1 to {params.MAX_BATCH:,}",
        f"{manifest.MAX_PERTURBATION_SHIFT} >= e0 >= e1 >= 0: a candidate moves",
        f"`shift` of 0 to {manifest.MAX_SHIFT}",
        f"a model of 2 to {manifest.MAX_OUTPUTS} outputs",
        f"`std_t` is 0 to {manifest.MAX_STD}",
        f"`|mean_t| + rs({manifest.MAX_INITIAL} * std_t, 8)` at most {manifest.MASTER_LIMIT}",
        f"list of 1 to {manifest.MAX_LAYERS} layers",
        f"0 <= w < T <= {manifest.MAX_WINDOW:,}",
        f"0 <= t <= {manifest.MAX_VALUE_ERROR:,}",
        f"min(|z - t|, {manifest.MAX_VALUE_ERROR})^2 >> 8",
        f"`outputs * ({manifest.MAX_VALUE_ERROR}^2 >> 8)`",
        f"A mean is of at most {layers.MAX_AVERAGED:,} values",
        f"has more than 2^{manifest.MAX_SIZE.bit_length() - 1} values",
        f"`[{layers.VOCABULARY}, out]`",
        f"a bias counts v~ << {network.BIAS_SHIFT}",
        f"`L << (k - {network.MASTER_BITS})` 1 to {manifest.WEIGHT_LIMIT}",
        f"Inputs and activations are -{network.LARGEST}..{network.LARGEST} as well",
        f'`sha256("{search.CHECK.decode()}" | work(s) | be32(c))`',
        f"2^{manifest_json.MAX_INT.bit_length() - 1}, no floats",
        f"2^{(manifest.MAX_ETA + 1).bit_length() - 1} > eta0",
        f"* most < 2^{manifest_json.LIMIT_LOSS_SUM.bit_length() - 1}",
        f"below 2^{manifest.LIMIT_FLOAT32.bit_length() - 1}, every partial sum",
        f"of a layer reaches 2^{manifest.LIMIT_ACCUMULATOR.bit_length() - 1}",
        f"last layer reaches 2^{manifest.LIMIT_LOGIT.bit_length() - 1}",
        f"K <= {manifest.chunk_length(0)} at e = 0, {manifest.chunk_length(2)} at e = 2",
        f"0 <= bits <= {work.MAX_BITS}",
        f"more than {work.MIN_COINBASE - 1} and at most {work.MAX_COINBASE} bytes",
        f"length of the scriptSig, {work.MIN_SCRIPT_SIG} to {work.MAX_SCRIPT_SIG}",
        f"its last {work.EXTRANONCE_SIZE} bytes are",
        f'`{work.MARKER_PREFIX[:2].hex()}`, `"{work.MARKER_PREFIX[2:].decode()}"`, 32 bytes marker',
        f"at most {work.MAX_BRANCH} siblings",
        f"branch_len (<= {work.MAX_BRANCH})",
        f"script_len (<= {work.MAX_SCRIPT})",
        f"n_miners (1..{record.MAX_MINERS})",
        f"n_templates (1..{record.MAX_TEMPLATES})",
        f"u8 version = {record.VERSION}",
        f"{record.entry_size(0)} + {record.entry_size(1) - record.entry_size(0)} * C bytes each",
        f'"{dataset.MAGIC.decode()}" | u8 kind | be32 n_train',
        *(f"| {code} | `{kind}` |" for code, kind in enumerate(dataset.KINDS)),
        f"|M| <= {manifest.MASTER_LIMIT}",
        f"-{manifest.MASTER_LIMIT}, {manifest.MASTER_LIMIT})",
        f"min({search.MAX_COEFFICIENT}, (32",
        f"|G| <= {search.MAX_COEFFICIENT * params.MAX_POPULATION}",
        f"chunks of {state.CHUNK} weights",
        f"M[{state.CHUNK}] le32 | m[{state.CHUNK}] le32) | W[{state.CHUNK}] int8",
        f"side {draw.SIDE_ROWS} gives m signs a and side {draw.SIDE_COLUMNS} gives n signs b",
        f"side {draw.SIDE_VECTOR} gives n signs",
        f"two tables of {len(loss.EXP2)} entries",
        f"numerator = (w_k >> 8) - 2^{literal.DENOMINATOR.bit_length() - 1}",
    ],
)
def test_a_fact_stands_in_the_text(fact: str) -> None:
    assert fact in FLAT


def test_fixed_sizes_add_up() -> None:
    assert record.entry_size(1) == 1 + 2 + 16 + 4 + 4 + 4 + 5
    assert record.entry_size(64) == 1 + 2 + 16 + 4 + 4 + 4 + 64 * 5
    assert 8 + 1 + len(work.MARKER_PREFIX) + 32 == 47
    assert dataset.HEADER_SIZE == 8 + 1 + 4 + 4 + 4 + 2
    one, text, values = (example_manifests()[name] for name in ("relu", "gru", "values"))
    assert manifest.max_loss(one) == 2 * manifest.logit_bound(one) + 2560
    assert manifest.max_loss(text) == (5 - 2) * (2 * manifest.logit_bound(text) + 2560)
    assert manifest.max_loss(values) == 2 * (32767**2 >> 8)
    assert manifest.accumulator_bound(5, 2) == 5 * 127 * (127 + 2**2) + 127 * 32 + 2 ** (5 + 2)
