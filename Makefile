# `make demo` and `make test` work in a fresh clone: they make .venv and install what they need, again only when pyproject.toml changes.
# Variables: PYTHON (3.10 or later), DATA (training data), RUNS (training runs).

PYTHON ?= python3
DATA ?= data
RUNS ?= runs
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
UV := $(shell command -v uv 2>/dev/null)
# torch is installed by pip in either case: pip's configuration may point to a build for CPUs (find-links), which uv does not read.
TORCH := $(shell sed -n 's/^train = .*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
INSTALL := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)

.DEFAULT_GOAL := help
.PHONY: help demo test lint typecheck pytest bench material synth train-lite train-lite-meta train-paper train-paper-meta clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | awk -F '\t' '{ printf "  make %-18s %s\n", $$1, $$2 }'

demo: $(VENV)/core.stamp  ## track the clip inside the package; results in metatrack-demo/
	$(BIN)/metatrack demo

test: $(VENV)/dev.stamp lint typecheck pytest  ## ruff, mypy and all tests

lint: $(VENV)/dev.stamp  ## ruff
	$(BIN)/ruff check

typecheck: $(VENV)/dev.stamp  ## mypy --strict
	$(BIN)/mypy

pytest: $(VENV)/dev.stamp  ## tests and doctests; make pytest ARGS="-k crop -x"
	$(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/core.stamp  ## frames per second on this machine
	$(BIN)/metatrack bench

material: $(VENV)/core.stamp  ## pictures for synthetic clips, from Debian's archive
	$(BIN)/metatrack data material --out $(DATA)/material

synth: $(VENV)/train.stamp material  ## synthetic clips for training and validation
	$(BIN)/metatrack data synth $(PICTURES) --out $(DATA)/synth --subset train --clips 2600 --length 8 --seed 1
	$(BIN)/metatrack data synth $(PICTURES) --out $(DATA)/synth --subset val --clips 500 --length 12 --seed 2
PICTURES = --objects $(DATA)/material/usr/share/tuxpaint/stamps --backgrounds $(DATA)/material/usr/share/backgrounds $(DATA)/material/usr/share/wallpapers

train-lite: $(VENV)/train.stamp  ## matching network, lite trunk (resumes an interrupted run)
	$(BIN)/metatrack train matching --trunk lite --mix configs/train.json --val-mix configs/val.json --out $(RUNS)/lite

train-lite-meta: $(VENV)/train.stamp  ## meta-learner on top of it
	$(BIN)/metatrack train meta --matching $(RUNS)/lite/best.pt --mix configs/val.json --out $(RUNS)/lite-meta

train-paper: $(VENV)/train.stamp  ## matching network, the paper's five layers from scratch
	$(BIN)/metatrack train matching --trunk paper --mix configs/train.json --val-mix configs/val.json --out $(RUNS)/paper

train-paper-meta: $(VENV)/train.stamp  ## meta-learner on top of it
	$(BIN)/metatrack train meta --matching $(RUNS)/paper/best.pt --mix configs/val.json --out $(RUNS)/paper-meta

clean:  ## removes .venv, caches and the demo's results; keeps data and runs
	rm -rf $(VENV) metatrack-demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# --- set-up ---------------------------------------------------------------------------------------------------------------

$(VENV)/bare.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "metatrack needs Python 3.10 or later; give one: make PYTHON=python3.12 ..."; exit 1; }
	rm -rf $(VENV)
	$(if $(UV),$(UV) venv --quiet --seed --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))
	@touch $@

$(VENV)/core.stamp: $(VENV)/bare.stamp pyproject.toml
	$(INSTALL) --editable .
	@touch $@

$(VENV)/torch.stamp: $(VENV)/bare.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	@touch $@

$(VENV)/train.stamp: $(VENV)/torch.stamp pyproject.toml
	$(INSTALL) --editable '.[train]'
	@touch $@ $(VENV)/core.stamp

$(VENV)/dev.stamp: $(VENV)/torch.stamp pyproject.toml
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/train.stamp $(VENV)/core.stamp
