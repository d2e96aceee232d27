# `make demo` and `make test` need python3 (3.11 or newer), git and make; the rest they fetch.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Time budget of `make base` and `make kontext` in minutes, and the share of caption steps in the
# latter; empty means the builder's own.
MINUTES ?=
CAPTIONS ?=

# Threads that spin while another process holds their core take ten times as long; see
# pairedit_sdk/io/threads.py. Whoever has set one of these has decided.
ifeq ($(OMP_WAIT_POLICY)$(GOMP_SPINCOUNT)$(KMP_BLOCKTIME),)
export GOMP_SPINCOUNT := 1000
export KMP_BLOCKTIME := 1
endif

.PHONY: demo studio-demo test slow lint format docs site base adopt-base kontext adopt-kontext adopt-basis clean

demo: $(READY)
	$(BIN)/pairedit demo

# The page, on the demo's two edits, which are trained first where they are not there yet.
studio-demo: $(READY)
	test -f out/demo/glasses.safetensors || $(BIN)/pairedit demo
	$(BIN)/pairedit studio --library out/demo --open

test: lint site
	$(BIN)/python -m pytest -q

# Ray is large, and only tests that take long need it.
slow: $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev,ray]'
	$(BIN)/python -m pytest -q -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python -m docs._tools.settings_table
	$(MAKE) site

# The module form lets mkdocs.yml name docs/_tools. The notice switched off says that Material's
# fixes end in May 2027 and that Zensical reads mkdocs.yml.
site: $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

base: $(READY)
	$(BIN)/python -m pairedit_sdk.builtin.build.mini $(if $(MINUTES),--minutes $(MINUTES))

# An edit works on the very base it was learned on, so the shipped one is learned again.
adopt-base: $(READY)
	test -f out/base/model_index.json
	rm -rf pairedit_sdk/builtin/weights/mini
	cp -R out/base pairedit_sdk/builtin/weights/mini
	$(BIN)/pairedit train examples/pairs/hat --name hat --library out/adopt --force
	cp out/adopt/hat.safetensors examples/edits/hat.safetensors

# The built-in Kontext base starts from the built-in base, and is trained again when that changes.
kontext: $(READY)
	$(BIN)/python -m pairedit_sdk.builtin.build.mini_kontext $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(if $(CAPTIONS),--captions $(CAPTIONS))

adopt-kontext: $(READY)
	test -f out/kontext/model_index.json
	rm -rf pairedit_sdk/builtin/weights/mini-kontext
	cp -R out/kontext pairedit_sdk/builtin/weights/mini-kontext

# The LoRWeB basis that comes with mini-kontext, of a trained one: make adopt-basis BASIS=FILE
adopt-basis: $(READY)
	$(BIN)/python -m pairedit_sdk.builtin.build.world_basis $(BASIS)

clean:
	rm -rf $(VENV) build dist out/demo out/bench out/base out/kontext out/build out/adopt out/site .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# The stamp is newer than both files only after an installation that went through.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; got $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one, for example: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
