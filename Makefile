# Every verb of the project. `make` alone lists them; `make demo` and `make test` need nothing
# but Python 3.11, cargo and make, and set up the rest in .venv and target.

PYTHON ?= python3

VENV := $(abspath .venv)
BIN := $(VENV)/bin
STAMPS := build/stamps
SMOKE := build/smoke
PIP_INSTALL := -m pip --disable-pip-version-check --quiet install

# One extension is in place at a time: the debug build for tests, the release build for the rest.
RUST_SOURCES := $(shell find rust -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock pyproject.toml
MATURIN_DEVELOP := VIRTUAL_ENV=$(VENV) $(BIN)/maturin develop

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-rust test-python browser lint format bench costs accept-costs asv trends performance docs wheel smoke ci lock clean tools

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(STAMPS)/release ## set everything up, run the demonstration, leave build/demo/index.html
	$(BIN)/pagemig demo --output build/demo

test: test-rust test-python ## set everything up and run every test, Rust and Python

test-rust: | tools
	@if cargo nextest --version >/dev/null 2>&1; \
	then echo 'cargo nextest run --workspace' && cargo nextest run --workspace --locked; \
	else echo 'cargo test --workspace' && cargo test --workspace --locked --all-targets; fi
	cargo test --workspace --locked --doc --quiet

test-python: $(STAMPS)/dev
	$(BIN)/python -m pytest -n auto

browser: $(STAMPS)/dev ## open reports and timelines in headless Chromium, wide and narrow
	PAGEMIG_BROWSER=1 $(BIN)/python -m pytest tests/reports/test_browser.py

lint: $(STAMPS)/dev ## formatting, clippy, ruff, mypy, and the stub against the extension
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --target-dir target/lint -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest pagemig._core --concise --allowlist .ci/stubtest.txt

format: $(STAMPS)/venv-dev ## rewrite the sources in the agreed form
	cargo fmt --all
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMPS)/release ## one table: our times beside the host kernel's, in one run
	$(BIN)/python -m benchmarks.table

costs: | tools ## counters and instructions of fixed workloads against those accepted
	$(PYTHON) .ci/costs.py

accept-costs: | tools ## take what the workloads cost now as what they should cost
	$(PYTHON) .ci/costs.py --accept

# The table may have short rows: what it says is what the page shows. Fewer pages where the host has less
# than 16 GiB: `make performance TOUCHED=20000000`.
TOUCHED ?= 100000000
performance: $(STAMPS)/venv-bench $(STAMPS)/release ## measure everything again that docs/performance.md shows
	mkdir -p docs/figures
	-$(BIN)/python -m benchmarks.table > docs/figures/bench.txt
	$(BIN)/python -m benchmarks.scale --touched $(TOUCHED) --json build/scale.json > docs/figures/scale.txt
	$(BIN)/python -m benchmarks.breakdown move_address_order move_random_order move_file query first_touch > docs/figures/breakdown.txt
	$(BIN)/python -m benchmarks.plots --lines build/scale.json

ASV_FLAGS ?=
asv: $(STAMPS)/venv-bench ## time the last commit with asv, in an environment of its own
	$(BIN)/asv machine --yes
	$(BIN)/asv run --show-stderr $(ASV_FLAGS) 'HEAD^!'

trends: | tools ## type the asv lines of CONTRIBUTING.md in a clean clone, quickly, and read what they publish
	$(PYTHON) -m tests.house.trends build/trends

docs: $(STAMPS)/venv-docs $(STAMPS)/dev ## the documentation as HTML, in build/docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

wheel: $(STAMPS)/venv-demo ## an sdist, and the wheel built from it, in dist
	rm -rf dist
	VIRTUAL_ENV=$(VENV) $(BIN)/maturin build --sdist --out dist

# A wheel is good when it works where nothing else of ours is: a new environment, numpy alone. Then a newcomer
# installs it in each way that README.md tells, and types what it shows.
smoke: wheel
	rm -rf $(SMOKE) && $(PYTHON) -m venv $(SMOKE)
	$(SMOKE)/bin/python $(PIP_INSTALL) --constraint requirements/demo.txt dist/*.whl
	$(SMOKE)/bin/python -I .ci/smoke.py
	$(PYTHON) -m tests.house.pages README.md $(SMOKE)/newcomer
	$(SMOKE)/bin/python -m benchmarks.table --quick

ci: lint test costs docs demo smoke ## everything that must hold before a change lands

lock: $(STAMPS)/venv-demo ## choose new versions for requirements/*.txt
	$(BIN)/python $(PIP_INSTALL) uv
	for name in demo dev docs bench; do $(BIN)/python .ci/lock.py $$name || exit 1; done

clean: ## remove everything that was built
	rm -rf .venv target build dist .asv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find python tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
	rm -f python/pagemig/_core.*.so python/pagemig/_core*.dylib

tools:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "pagemig needs Python 3.11 or newer, and there is no $(PYTHON) here: install it, or name it with PYTHON=..." >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "pagemig needs Python 3.11 or newer, and $(PYTHON) is older: name a newer one with PYTHON=..." >&2; \
	  exit 1; }
	@$(PYTHON) .ci/check_tools.py

$(STAMPS):
	mkdir -p $@

# A set of pinned packages, once more whenever its list changes.
$(STAMPS)/venv-%: requirements/%.txt | tools $(STAMPS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --requirement $<
	touch $@

$(STAMPS)/release: $(STAMPS)/venv-demo $(RUST_SOURCES)
	$(MATURIN_DEVELOP) --profile release
	rm -f $(STAMPS)/dev && touch $@

$(STAMPS)/dev: $(STAMPS)/venv-dev $(RUST_SOURCES)
	$(MATURIN_DEVELOP) --profile dev
	rm -f $(STAMPS)/release && touch $@
