# Everything a checkout needs, into .venv and build/. GNU make 3.81 (macOS) is enough.

VENV := .venv
BIN := $(VENV)/bin
DEMO := build/demo
PYTHON ?=
# What each target needs beyond Python, and the packages that hold it; `neurobus doctor` reads the same.
SYSTEM := neurobus/system.csv
COLUMN := $(if $(filter Darwin,$(shell uname -s)),4,3)

.PHONY: help install system demo papers peers test check bench clean train-report demo-train
.PHONY: rig firmware campaign $(addprefix campaign-,logs configs resume storms flood boards)
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

install: $(VENV)/.installed ## fill .venv with neurobus and all it needs

$(VENV)/.installed: pyproject.toml $(BIN)/python
	@echo 'installing neurobus into $(VENV) (some hundred MB the first time) ...'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check,nwb,train]'
	@touch $@

# PYTHON=... or the first python from 3.11 on that can make environments. Debian keeps the part of
# Python that makes them in a package of its own.
$(BIN)/python:
	@set -u; found=; \
	for python in $(if $(PYTHON),$(PYTHON),python3 python3.12 python3.13 python3.11 python3.14); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  found=$${found:-$$python}; \
	  if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'make: no Python 3.11 or later here; install one, or name it: make install PYTHON=/path/to/python3' >&2; \
	  exit 1; \
	fi; \
	if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
	  package=$$("$$found" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing $$package, which $$found needs to make environments ..."; \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "$$package" >/dev/null; \
	  else \
	    echo "make: $$found cannot make environments; run: sudo apt-get install $$package" >&2; exit 1; \
	  fi; \
	fi; \
	"$$found" -m venv --clear $(VENV)

system: system-test ## what the tests need from the system, installed when root

# system-TARGET: what TARGET needs from the system, installed when root.
system-%:
	@missing() { \
	  awk -F, -v target=$* -v column=$(COLUMN) 'NR > 1 && $$column && index(" " $$5 " ", " " target " ") \
	    { print $$column "," $$2 }' $(SYSTEM) | while IFS=, read -r packages signs; do \
	    for sign in $$signs; do \
	      case $$sign in (/*) test -e "$$sign";; (*) command -v "$$sign" >/dev/null;; esac && continue 2; \
	    done; \
	    printf '%s ' "$$packages"; \
	  done; \
	}; \
	packages=$$(missing); \
	[ -n "$$packages" ] || exit 0; \
	if command -v apt-get >/dev/null; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    echo "installing $$packages..."; \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$packages \
	      >/dev/null; \
	  else \
	    echo "run: sudo apt-get install $$packages"; \
	  fi; \
	elif command -v brew >/dev/null; then \
	  echo "run: brew install $$packages"; \
	fi; \
	packages=$$(missing); \
	[ -n "$$packages" ] || exit 0; \
	case $* in \
	  (test) echo "missing: $$packages(tests that need them are skipped)" >&2; [ "$${CI:-}" != true ];; \
	  (bench|train-report) echo "missing: $$packages(figures of boards are left out)" >&2;; \
	  (*) echo "make $*: missing: $$packages" >&2; exit 1;; \
	esac

firmware: system-firmware ## of the boards, into build/firmware: make firmware LED=ws2815 LEDS=60, or CHIP=race
	@$(MAKE) -s --no-print-directory -C firmware/avr $(if $(FIRMWARE),FIRMWARE=$(abspath $(FIRMWARE)))

rig: build/sim/rig ## simulated boards: firmware/sim, built with simavr

# Where simavr's headers are, when not where the compiler looks anyway.
SIMAVR := $(shell pkg-config --variable=includedir simavr 2>/dev/null)

build/sim/rig: $(wildcard firmware/sim/*.c firmware/sim/*.h) | system-rig
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -Wall -Wextra -D_GNU_SOURCE $(SIMAVR:%=-I%) -o $@ firmware/sim/*.c \
		$(shell pkg-config --libs-only-L simavr 2>/dev/null) -lsimavr -lelf -lm

demo: install ## the worm, touched on the nose: seen as it happens, drawn, played back
	@mkdir -p $(DEMO)
	$(BIN)/neurobus run configs/worm/worm.toml --clock virtual --pace 1 --for 3s --raster \
		--set switches.touch_nose=true --record $(DEMO)/worm.mcap --overwrite
	$(BIN)/neurobus plot $(DEMO)/worm.mcap -o $(DEMO)/worm.png
	$(BIN)/neurobus replay $(DEMO)/worm.mcap --rate 0.5
	@echo 'the picture: $(DEMO)/worm.png'

peers: install build/peers/.installed ## the same networks in NEST and in Brian2, spike for spike
	$(BIN)/python -m tests.peers --brian build/peers/bin/python --json build/peers.json

# Brian2 wants an older numpy, so it has an environment of its own. Without it NEST is compared alone.
build/peers/.installed: | $(VENV)/.installed
	@echo 'installing Brian2 into build/peers ...'
	@mkdir -p build
	@if $(BIN)/python -m venv --clear build/peers \
	  && build/peers/bin/python -m pip install --quiet --disable-pip-version-check 'brian2>=2.9' 'numpy<2.4'; \
	then touch $@; else rm -rf build/peers; echo 'make: no Brian2 here; peers are compared without it' >&2; fi

papers: install ## every exhibit: claims of papers, measured and drawn into build/papers
	$(BIN)/neurobus exhibit --all -o build/papers

test: install system ## all tests
	$(BIN)/python -m tests.lanes

check: install ## style, types, then all tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@$(MAKE) test

train-report: install system-train-report ## what thirty chips learn: the table in the README, every split (some minutes)
	@mkdir -p build
	$(BIN)/python -m tests.bench.learning --json build/train.json \
		$(addprefix --brian ,$(wildcard build/peers/bin/python))
	$(BIN)/python -m tests.bench.cycles --json build/cycles.json --plot build/cycles.png

demo-train: install ## thirty processes learn to read, with a picture of what each has learnt
	@mkdir -p $(DEMO)
	$(BIN)/neurobus train configs/digits/thirty.toml -o $(DEMO)/thirty.brain --overwrite
	@echo 'what each has learnt: $(DEMO)/thirty.weights.png'
	@echo 'what is taken for what: $(DEMO)/thirty.confusion.png'
	@echo 'now try: neurobus brain load $(DEMO)/thirty.brain, and in another terminal: neurobus show 7'

demo-board: install system-demo-board rig firmware ## a simulated board as a neuron: attached, pressed, unplugged, plugged
	$(BIN)/python firmware/demo.py

# Trials at length, one by one: make campaign TRIALS="storms resume". Their short forms are among the tests.
TRIALS := logs configs resume storms flood boards
campaign: $(TRIALS:%=campaign-%) ## trials at length: damaged files, killed and resumed runs, cables pulled a thousand times
campaign-logs: install
	$(BIN)/python -m tests.campaigns.logs --n 1000 --brains 500
campaign-configs: install
	$(BIN)/python -m tests.campaigns.configs --n 1000
campaign-resume: install
	$(BIN)/python -m tests.campaigns.resume --n 50
campaign-storms: install
	$(BIN)/python -m tests.campaigns.storms --n 60
campaign-flood: install
	$(BIN)/python -m tests.campaigns.flood --n 4
campaign-boards: install system-campaign rig
	$(BIN)/python -m tests.firmware.campaign

bench: install system-bench $(VENV)/.bench build/peers/.installed ## the figures of merit, as a table and build/bench.json
	@mkdir -p build
	$(BIN)/python -m tests.bench --json build/bench.json

# The benchmarks report a peer that is not there as such, so they run without it.
$(VENV)/.bench: $(VENV)/.installed
	@echo 'installing Ray and Dask, the peers of the benchmarks ...'
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'; \
	then touch $@; else echo 'make: no Ray or Dask here; the benchmarks run without them' >&2; fi

clean: ## remove .venv, build/ and caches
	rm -rf $(VENV) build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find neurobus nodes tests -name __pycache__ -type d -prune -exec rm -rf {} +
