# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.isthmus-ready
CONSTRAINTS := $(wildcard constraints.txt)
BENCHES := bench-choice bench-deep bench-digits bench-estimate bench-few-labels bench-mismatch bench-published bench-rivals bench-scale bench-signs bench-validators

.PHONY: setup demo test check bench $(BENCHES) choice-prior docs drill clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $(STAMP)

demo: setup
	$(BIN)/isthmus demo

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: setup
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks

$(BENCHES): bench-%: setup
	$(BIN)/python -m benchmarks.bench_$(subst -,_,$*)

choice-prior: setup
	$(BIN)/python -m benchmarks.choice_prior

docs: setup
	$(BIN)/python -m pytest tests/test_docs.py tests/test_site.py
	$(BIN)/python -m sphinx -W --keep-going -b html docs/site docs/_build/html

# every silent failure once, through `isthmus check` and through a plain script
drill: setup
	$(BIN)/python tests/silent/drill.py --plain --out docs/drill.md

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache
