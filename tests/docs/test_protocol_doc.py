"""docs/protocol.md says what the code does: tags, sizes and limits are read out of its text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from potnode.spec import dataset, draw, loss, manifest, params, record, search, state, work

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
    assert len(in_code) == 7


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


EXAMPLE = manifest.Manifest(
    dataset="d",
    layers=(manifest.Linear(1, 2, 0, "none"),),
    train=(0,),
    seed=bytes(32),
    std=(1, 0),
    perturbation_shift=0,
    rule="momentum",
    eta0=1,
    eta1=1,
)


def test_manifest_keys_are_those_of_a_manifest() -> None:
    manifest.check_manifest(EXAMPLE)
    keys = set(re.findall(rb'[{,]"(\w+)":', manifest.encode_manifest(EXAMPLE)))
    table = _section(1).split("### Manifest")[1]
    rows = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    inner = {"activation", "in", "out", "shift", "type", "seed", "std", "eta", "rule"}
    assert {key.decode() for key in keys} == rows | inner
    for key in inner:
        assert f'"{key}"' in table
    for rule in manifest.RULES:
        assert f'"{rule}"' in table
    for activation in manifest.ACTIVATIONS:
        assert f"`{activation}`" in table


@pytest.mark.parametrize(
    "fact",
    [
        f"candidates of a step: 1 to {params.MAX_POPULATION:,}",
        f"samples of a step's batch: 1 to {params.MAX_BATCH:,}",
        f"0 to {manifest.MAX_PERTURBATION_SHIFT}: a candidate moves",
        f"shift of 0 to {manifest.MAX_SHIFT}",
        f"2 to {manifest.MAX_CLASSES} outputs",
        f"`std_t` is 0 to {manifest.MAX_STD}",
        f"2^{manifest.MAX_INT.bit_length() - 1}, no floats",
        f"2^{(manifest.MAX_ETA + 1).bit_length() - 1} > eta0",
        f"(2 * Z + 2560) < 2^{manifest.LIMIT_LOSS_SUM.bit_length() - 1}",
        f"below 2^{manifest.LIMIT_FLOAT32.bit_length() - 1}, every partial sum",
        f"inputs reaches 2^{manifest.LIMIT_ACCUMULATOR.bit_length() - 1}",
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
        f"{record.ENTRY_SIZE} bytes at C = 1",
        f'"{dataset.MAGIC.decode()}" | be32 n_train',
        f"|M| <= {search.MASTER_LIMIT}",
        f"-{search.MASTER_LIMIT}, {search.MASTER_LIMIT})",
        f"min({search.MAX_COEFFICIENT}, (32",
        f"|G| <= {search.MAX_COEFFICIENT * params.MAX_POPULATION}",
        f"chunks of {state.CHUNK} weights",
        f"M[{state.CHUNK}] le32 | m[{state.CHUNK}] le32) | W[{state.CHUNK}] int8",
        f"side {draw.SIDE_ROWS} gives m signs a and side {draw.SIDE_COLUMNS} gives n signs b",
        f"side {draw.SIDE_VECTOR} gives n signs",
        f"two tables of {len(loss.EXP2)} entries",
    ],
)
def test_a_fact_stands_in_the_text(fact: str) -> None:
    assert fact in FLAT


def test_fixed_sizes_add_up() -> None:
    assert record.ENTRY_SIZE == 1 + 2 + 16 + 4 + 4 + 4 + 5
    assert 8 + 1 + len(work.MARKER_PREFIX) + 32 == 47
    assert dataset.HEADER_SIZE == 8 + 4 + 4 + 4 + 2
    assert manifest.max_loss(EXAMPLE) == 2 * manifest.logit_bound(EXAMPLE) + 2560
    assert manifest.accumulator_bound(5, 2) == 5 * 127 * (127 + 2**2) + 127 * 32 + 2 ** (5 + 2)
