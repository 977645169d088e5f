# `make demo` and `make test` work in a fresh clone: they make .venv and install what they need, again only when pyproject.toml changes.
# Variables: PYTHON (3.10 or later), DATA (training data), RUNS (training runs), NANOTRACK and DEVICE (of train-mobile).

PYTHON ?= python3
DATA ?= data
RUNS ?= runs
DEVICE :=
VENV := .venv
VOT := .venv-vot
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
UV := $(shell command -v uv 2>/dev/null)
# torch is installed by pip in either case: pip's configuration may point to a build for CPUs (find-links), which uv does not read.
TORCH := $(shell sed -n 's/^train = .*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
INSTALL := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)

.DEFAULT_GOAL := help
.PHONY: audit docs help demo test test-all-pythons lint typecheck pytest fuzz bench benchmark material synth render more pseudo train-lite train-mobile meta-paper train-paper train-lite-no-meta train-paper-no-meta export soak clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | awk -F '\t' '{ printf "  make %-18s %s\n", $$1, $$2 }'

demo: $(VENV)/core.stamp  ## track the clip inside the package; results in metatrack-demo/
	$(BIN)/metatrack demo

test: $(VENV)/dev.stamp lint typecheck pytest  ## ruff, mypy and all tests

test-all-pythons: $(VENV)/dev.stamp  ## the wheel and the tests that need no torch on each Python here; make test-all-pythons ARGS="--only 3.12"
	$(BIN)/python tools/all_pythons.py --suite $(ARGS)

lint: $(VENV)/dev.stamp  ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet

typecheck: $(VENV)/dev.stamp  ## mypy --strict
	$(BIN)/mypy

pytest: $(VENV)/dev.stamp $(VOT)/stamp $(VENV)/chromium.stamp $(VENV)/mesa.stamp  ## tests and doctests, two at a time; make pytest ARGS="-n 0 -k crop -x"
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

docs: $(VENV)/dev.stamp  ## the documentation site, in site/; a link that leads nowhere is an error
	$(BIN)/zensical build --strict

fuzz: $(VENV)/dev.stamp  ## damaged files for every parser; make fuzz MINUTES=10
	$(BIN)/python -m tools.fuzz.run --minutes $(MINUTES) $(ARGS)
MINUTES ?= 5

audit: $(VENV)/dev.stamp  ## known holes in the dependencies, as PyPI lists them
	$(BIN)/python tools/audit.py

bench: $(VENV)/core.stamp  ## frames per second on this machine
	$(BIN)/metatrack bench

benchmark: $(VENV)/dev.stamp  ## speed, memory, size and start beside other trackers; make benchmark ARGS="--nano DIR"
	$(BIN)/python benchmarks/run.py --out benchmarks/results $(ARGS)

material: $(VENV)/core.stamp  ## pictures for synthetic clips, from Debian's archive
	$(BIN)/metatrack data material --out $(DATA)/material

synth: $(VENV)/train.stamp material  ## synthetic clips for training and validation
	$(BIN)/metatrack data synth $(PICTURES) --out $(DATA)/synth --subset train --clips 2600 --length 8 --seed 1
	$(BIN)/metatrack data synth $(PICTURES) --out $(DATA)/synth --subset val --clips 500 --length 12 --seed 2
PICTURES = --objects $(DATA)/material/usr/share/tuxpaint/stamps --backgrounds $(DATA)/material/usr/share/backgrounds $(DATA)/material/usr/share/wallpapers

render: $(VENV)/render.stamp  ## rendered clips for training, and longer videos for validation
	$(BIN)/metatrack data material --out $(DATA)/material --models
	$(BIN)/metatrack data models --folders $(DATA)/material/usr/share/sweethome3d/furniture --source sweethome3d --out $(DATA)/models
	test ! -d $(MIRROR) || $(BIN)/python -m tools.collect.models --mirror $(MIRROR) --out $(DATA)/models
	$(BIN)/metatrack data render $(SCENES) --out $(DATA)/render --subset train --clips 3000 --length 18 --seed 21
	$(BIN)/metatrack data render $(SCENES) --out $(DATA)/render --subset val --filmed --clips 30 --length 240 --seed 31
SCENES = --models $(DATA)/models --backgrounds $(DATA)/material/usr/share/backgrounds $(DATA)/material/usr/share/wallpapers $(wildcard $(DATA)/more/photos)

more:  ## further stills and clips, from public repositories mirrored in $(MIRROR) (tools/collect)
	$(BIN)/python -m tools.collect.stills --mirror $(MIRROR) --out $(DATA)/more
	$(BIN)/python -m tools.collect.video --mirror $(MIRROR) --out $(DATA)/more/got10k --sheets $(DATA)/more/sheets-video
	$(BIN)/metatrack data synth --objects $(DATA)/more/cutouts --backgrounds $(DATA)/more/photos $(DATA)/material/usr/share/backgrounds \
		$(DATA)/material/usr/share/wallpapers --out $(DATA)/synth-photos --subset train --clips 1500 --length 8 --seed 11
MIRROR ?= mirror

pseudo:  ## trajectories of unlabelled clips (tools/pseudo); make pseudo DETECTOR=yolox_nano.onnx SEGMENTER=isnet.onnx FACES=yunet_n_640_640.onnx HELD="frames of benchmarks"
	@test -n "$(DETECTOR)" -a -n "$(SEGMENTER)" -a -n "$(FACES)" -a -n "$(HELD)" || { echo "give DETECTOR, SEGMENTER, FACES and HELD (docs/training.md)"; exit 1; }
	$(BIN)/python -m tools.pseudo.make --mirror $(MIRROR) --detector $(DETECTOR) --held $(HELD) --out $(DATA)/pseudo
	$(BIN)/python -m tools.pseudo.make --mirror $(MIRROR) --segmenter $(SEGMENTER) --held $(HELD) --out $(DATA)/pseudo
	$(BIN)/python -m tools.pseudo.make --mirror $(MIRROR) --faces $(FACES) --held $(HELD) --out $(DATA)/pseudo
	$(BIN)/python -m tools.pseudo.finish --out $(DATA)/pseudo

# The shipped models; --iterations says how far the schedule went on two cores, of mobile on a graphics card. An interrupted run resumes.
train-lite: $(VENV)/dev.stamp  ## lite: two matching networks with box heads, their mean, trained further, the mean with that, its meta-learner, and faces
	$(TRAIN) matching --boxes --mix configs/train_more.json --val-mix configs/val.json --iterations 3000 --score-weight 2 \
		--validate-every 500 --val-clips 30 --out $(RUNS)/lite-tuned
	$(TRAIN) matching --boxes --freeze-trunk --mix configs/train_real.json --val-mix configs/val.json --iterations 1500 --score-weight 2 \
		--out $(RUNS)/lite-frozen
	$(TRAIN) average --weights $(RUNS)/lite-tuned/last.pt $(RUNS)/lite-frozen/last.pt --out $(RUNS)/lite/start.pt
	$(BIN)/metatrack export --card configs/cards/lite.json --matching $(RUNS)/lite/start.pt --out $(RUNS)/lite-start
	$(TRAIN) matching --boxes --init $(RUNS)/lite-start --mix configs/train_long.json --val-mix configs/val.json --iterations 6400 --lr 5e-4 \
		--score-weight 2 --validate-every 800 --val-clips 24 --out $(RUNS)/lite-long
	$(TRAIN) average --weights $(RUNS)/lite-long/last.pt $(RUNS)/lite-long/last.pt $(RUNS)/lite-start --out $(RUNS)/lite/mean.pt
	$(EXPORT)/lite.json --int8-mix configs/train_more.json --matching $(RUNS)/lite/mean.pt --out $(RUNS)/lite-matching
	$(call META,$(RUNS)/lite-matching,lite,configs/meta-20000.json,polynomial --level 0.5)
	$(TRAIN) matching --boxes --init $(RUNS)/lite-polynomial --mix configs/train_faces.json --val-mix configs/val_both.json --val-clips 80 \
		--iterations 3000 --lr 5e-4 --score-weight 2 --warmup 60 --ema 0.999 --validate-every 500 --seed 31 --out $(RUNS)/lite-faces
	$(EXPORT)/lite.json --int8-mix configs/train_faces.json --matching $(RUNS)/lite-faces/last.pt --out $(RUNS)/lite-faces-matching
	$(BIN)/python -m tools.meta.carry --init $(RUNS)/lite-polynomial --model $(RUNS)/lite-faces-matching --val-mix configs/meta-held.json \
		--out $(RUNS)/lite-carried

train-mobile: $(VENV)/dev.stamp  ## mobile, from NANOTRACK=nanotrackv3/nanotrack_backbone.onnx and lite's box head; and its meta-learner; DEVICE="--device cuda --workers 14" for a graphics card alone
	@test -f "$(NANOTRACK)" || { echo "give NANOTRACK=.../nanotrackv3/nanotrack_backbone.onnx (docs/training.md)"; exit 1; }
	$(BIN)/python -m tools.graft --nanotrack $(NANOTRACK) --mix configs/train_shared.json --out $(RUNS)/mobile-graft.pt
	$(TRAIN) matching --trunk mobile --boxes --whole-trunk --init $(RUNS)/mobile-graft.pt --mix configs/train_all.json --val-mix configs/val_both.json \
		--batch 128 --iterations 1488 --lr 1.5e-3 --lr-trunk 2e-4 --score-weight 2 --warmup 200 --ema 0.999 --seed 42 $(DEVICE) --out $(RUNS)/mobile
	$(BIN)/metatrack export --val-mix configs/val_both.json --val-clips 100 --card configs/cards/mobile.json --int8-mix configs/train_all.json \
		--matching $(RUNS)/mobile/last.pt --out $(RUNS)/mobile-matching
	$(call META,$(RUNS)/mobile-matching,mobile,configs/meta-unseen.json,polynomial --level 0.5,$(DATA)/imagenet-sample-images)

meta-paper: $(VENV)/dev.stamp  ## paper with a meta-learner as lite has it, into $(RUNS)/paper-polynomial
	$(call META,paper,paper,configs/meta.json,polynomial --level 0.5)

# Features of thousands of targets, and a meta-learner on them: model, name of its results, list of targets, form, photographs.
define META
	$(BIN)/python -m tools.meta.held --segments $(DATA)/BSDS500/BSDS500/data --out $(DATA)/held
	$(BIN)/python -m tools.meta.features --model $(1) --list $(3) --out $(DATA)/meta-features-$(2) \
		--photographs $(or $(5),$(DATA)/more/photos $(DATA)/imagenet-sample-images)
	$(BIN)/python -m tools.meta.learn --model $(1) --features $(DATA)/meta-features-$(2) --val-mix configs/meta-held.json \
		--apart 0.1 --form $(4) --out $(RUNS)/$(2)-$(firstword $(4))
endef

train-paper: $(VENV)/dev.stamp  ## paper: the five layers from scratch, searching three scales, and their meta-learner
	$(TRAIN) matching --trunk paper --iterations 3125 $(MIXES) --validate-every 625 --out $(RUNS)/paper
	$(EXPORT)/paper.json --int8-mix configs/train.json --matching $(RUNS)/paper/last.pt --out $(RUNS)/paper-matching
	$(call META,$(RUNS)/paper-matching,paper,configs/meta-unseen.json,printed --level 0.5 --swapped 0.2,$(DATA)/imagenet-sample-images)

train-lite-no-meta: $(VENV)/train.stamp  ## the ablation: 128 plain kernels, three scales, all videos (no validation is left, so last.pt counts)
	$(TRAIN) matching --trunk lite $(MIXES) --validate-every 625 --out $(RUNS)/lite-pyramid
	$(TRAIN) matching --trunk lite --kernels 128 --init $(RUNS)/lite-pyramid/last.pt --iterations 1500 --lr-trunk 5e-5 --validate-every 1500 \
		--mix configs/train_and_val.json --val-mix configs/val.json --out $(RUNS)/lite-no-meta

train-paper-no-meta: $(VENV)/train.stamp  ## the same on the five layers, from the shipped paper's trunk
	$(TRAIN) matching --trunk paper --kernels 128 --init paper --iterations 600 --lr 2e-4 --validate-every 600 \
		--mix configs/train_and_val.json --val-mix configs/val.json --out $(RUNS)/paper-no-meta
TRAIN = $(BIN)/metatrack train
MIXES = --mix configs/train.json --val-mix configs/val.json

export: $(VENV)/train.stamp  ## bundles of the five, into the package
	rm -rf $(MODELS)/lite && cp -r $(RUNS)/lite-carried $(MODELS)/lite
	rm -rf $(MODELS)/mobile && cp -r $(RUNS)/mobile-polynomial $(MODELS)/mobile
	rm -rf $(MODELS)/paper && cp -r $(RUNS)/paper-printed $(MODELS)/paper
	$(EXPORT)/lite-no-meta.json --matching $(RUNS)/lite-no-meta/last.pt --out $(MODELS)/lite-no-meta
	$(EXPORT)/paper-no-meta.json --matching $(RUNS)/paper-no-meta/last.pt --out $(MODELS)/paper-no-meta
EXPORT = $(BIN)/metatrack export --val-mix configs/val.json --val-clips 60 --card configs/cards
MODELS = src/metatrack/models

soak: $(VENV)/dev.stamp  ## long and rough use: many updates and targets, threads, forks, kills, full disks
	$(BIN)/python tools/soak.py

clean:  ## removes the environments, caches and the demo's results; keeps data and runs
	rm -rf $(VENV) $(VOT) metatrack-demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
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
	$(INSTALL) --editable '.[train,opencv]'
	@touch $@ $(VENV)/core.stamp

# VOT's toolkit pins an OpenCV of its own. 0.8.1 and 0.9.0 of it fail in every multistart experiment; attributee 0.1.10 cannot be
# imported by Python 3.11. Where it cannot be installed its tests are skipped, and say so.
$(VOT)/stamp: $(VENV)/bare.stamp
	rm -rf $(VOT)
	$(PYTHON) -m venv $(VOT)
	-$(VOT)/$(notdir $(BIN))/python -m pip install --quiet --disable-pip-version-check vot-toolkit==0.7.4 attributee==0.1.9
	@touch $@

# For the page's test. Where Debian's packages cannot be installed (no apt-get, not root), that test is skipped, and says so.
$(VENV)/chromium.stamp: $(VENV)/bare.stamp
	-@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver; } >/dev/null 2>&1
	@touch $@

# For the renderer's tests: OpenGL without a display. The same holds here.
$(VENV)/mesa.stamp: $(VENV)/bare.stamp
	-@ldconfig -p 2>/dev/null | grep -q libEGL_mesa || { [ "$$(id -u)" = 0 ] && apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(MESA); } >/dev/null 2>&1
	@touch $@
MESA = libegl1 libgl1 libegl-mesa0 libgl1-mesa-dri

$(VENV)/render.stamp: $(VENV)/core.stamp $(VENV)/mesa.stamp pyproject.toml
	$(INSTALL) --editable '.[render,opencv]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/torch.stamp pyproject.toml
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/train.stamp $(VENV)/render.stamp $(VENV)/core.stamp
