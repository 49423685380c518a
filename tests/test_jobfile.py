"""Job files: what a researcher writes becomes a job passing the rules, or is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from potnode.data.digits import digits
from potnode.errors import JobFileError
from potnode.jobfile import read_job_file
from potnode.jobs import digits_draft, draft
from potnode.spec.errors import InvalidJob
from potnode.spec.manifest import check_job, decode_manifest

FULL = """
dataset = "digits"
[model]
hidden = [24, 16]
hidden_shift = 7
output_shift = 4
init_std = 12
seed = "0000000000000000000000000000000000000000000000000000000000000007"
[search]
population = 32
batch_size = 256
rule = "sign_momentum"
eta = [60, 20]
steps = 10
[pay]
pot_per_step = 5
"""
OWNER = bytes(range(20))


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "job.toml"
    path.write_text(text)
    return path


def test_a_file_becomes_a_valid_job(tmp_path: Path) -> None:
    made = draft(read_job_file(_write(tmp_path, FULL)), digits(), owner=OWNER, operator=OWNER)
    manifest = check_job(made.params, made.manifest)
    assert [(layer.inputs, layer.out) for layer in manifest.layers] == [
        (64, 24),
        (24, 16),
        (16, 10),
    ]
    assert [layer.activation for layer in manifest.layers] == ["relu", "relu", "none"]
    assert manifest.seed == (7).to_bytes(32, "big")
    assert (manifest.eta0, manifest.eta1, manifest.rule) == (60, 20, "sign_momentum")
    assert made.params.population == 32
    assert made.params.pot_per_step == 5
    assert made.params.data_root == digits().root


def test_jobs_of_one_file_are_different_jobs(tmp_path: Path) -> None:
    file = read_job_file(_write(tmp_path, 'dataset = "digits"\n'))
    first, second = (draft(file, digits(), owner=OWNER, operator=OWNER) for _ in range(2))
    assert first.params.salt != second.params.salt
    assert decode_manifest(first.manifest).seed != decode_manifest(second.manifest).seed


def test_the_digits_job_is_within_the_rules() -> None:
    made = digits_draft(OWNER)
    manifest = check_job(made.params, made.manifest)
    assert manifest.parameters == 2410
    assert made.params.population * made.params.step_limit <= 40_000
    assert made.params.min_bits == 14


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'dataset = "digits"\n[model]\nhiden = [1]\n',
            r"unknown key model\.hiden; did you mean model\.hidden",
        ),
        ('dataset = "digits"\nsearhc = 1\n', r"unknown key searhc; did you mean search"),
        ("[model]\n", r"dataset: Field required"),
        ('dataset = "digits"\n[search]\npopulation = "many"\n', r"search\.population"),
        ('dataset = "digits"\n[search]\nrule = "adam"\n', r"search\.rule"),
        ('dataset = "digits"\n[search]\npopulation = 1.5\n', r"search\.population"),
        ("dataset = ", r"is not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(JobFileError, match=message):
        read_job_file(_write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match=r"job\.toml: cannot be read"):
        read_job_file(tmp_path / "job.toml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[model]\nhidden = [140000, 4]", "passes its sum's bound, 2\\^31"),
        ("[model]\nhidden = [4000]\noutput_shift = 0", "logits may reach"),
        ("[search]\npopulation = 2000", "population"),
        ("[model]\ninit_std = 200", "std"),
    ],
)
def test_what_the_rules_forbid_is_refused_before_it_costs_anything(
    tmp_path: Path, line: str, message: str
) -> None:
    file = read_job_file(_write(tmp_path, f'dataset = "digits"\n{line}\n'))
    with pytest.raises(InvalidJob, match=message):
        draft(file, digits(), owner=OWNER, operator=OWNER)
