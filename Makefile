# Every target makes the virtual environment .venv when it is missing or older than pyproject.toml
# and constraints.txt, and starts at once otherwise. `make demo` and `make run` need Python 3.11+ and
# nothing else. ARGS goes to potnode (`make demo ARGS=--json`), PYTEST_ARGS to pytest.
#
# pip takes its settings from its own environment variables and files. On Linux, torch's default
# build brings the CUDA libraries along; set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU builds to
# do without them.

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUNTIME := .venv/.runtime
DEV := .venv/.dev
FOUNDRY := contracts/node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help demo run test check fmt contracts bench fuzz clean distclean

help:
	@echo "make demo       train a network on the digits with mined shares, and audit it from its chain"
	@echo "make run        run a node: Stratum on port 3333, HTTP on port 5000"
	@echo "make test       all tests: the contracts' with forge, the rest with pytest"
	@echo "make check      formatting, lint, types, import rules"
	@echo "make fmt        format Python and Solidity"
	@echo "make contracts  compile the contracts into potnode/chain/abi"
	@echo "make bench      measure miner, draws, engine, chain, audit, store and pool on this machine"
	@echo "make fuzz       a million spoiled conversations at a Stratum session"
	@echo "make clean      remove caches and build output (distclean: .venv and node_modules too)"

demo: $(RUNTIME)
	@$(BIN)/potnode demo $(ARGS)

run: $(RUNTIME)
	@exec $(BIN)/potnode run $(ARGS)

test: $(DEV) $(FOUNDRY)
	contracts/tools/forge test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(DEV) $(FOUNDRY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	contracts/tools/forge fmt --check
	contracts/tools/forge snapshot --check --match-path 'test/gas/*'

fmt: $(DEV) $(FOUNDRY)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	contracts/tools/forge fmt

contracts: $(DEV) $(FOUNDRY)
	contracts/tools/forge build --skip test script
	$(BIN)/python contracts/tools/export-abi

bench: $(RUNTIME)
	@for name in hash draw engine job shares stratum; do $(BIN)/potnode bench $$name $(ARGS) || exit 1; done

fuzz: $(DEV)
	$(BIN)/python -m tests.fuzz $(ARGS)

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf contracts/out contracts/cache
	find potnode stratum tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv contracts/node_modules

$(BIN)/python:
	@tools/venv.sh .venv

# The stamps come last: an installation that was interrupted is taken up again.
$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(RUNTIME) $@

# npm writes this file itself, last. No package needs its install script.
$(FOUNDRY): contracts/package.json contracts/package-lock.json | $(DEV)
	contracts/tools/npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
