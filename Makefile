# Everything a checkout needs, into .venv and build/. GNU make 3.81 (macOS) is enough.

VENV := .venv
BIN := $(VENV)/bin
DEMO := build/demo
PYTHON ?=
# What the tests want beyond Python, as command:package or file:package. The packages of Homebrew come from
# its tap osx-cross/avr.
ifeq ($(shell uname -s),Darwin)
NEEDS := cc:gcc avr-gcc:osx-cross/avr/avr-gcc simavr:osx-cross/avr/simavr
else
NEEDS := cc:gcc avr-gcc:gcc-avr /usr/lib/avr/include/avr/io.h:avr-libc \
	/usr/include/simavr/sim_avr.h:libsimavr-dev /usr/include/libelf.h:libelf-dev
endif

.PHONY: help install system demo papers peers test check bench clean train-report demo-train
.PHONY: rig firmware campaign
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

system: ## what the tests need from the system, installed when root
	@missing() { \
	  for need in $(NEEDS); do \
	    case $$need in (/*) test -e "$${need%%:*}";; (*) command -v "$${need%%:*}" >/dev/null;; esac \
	      || printf '%s ' "$${need##*:}"; \
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
	echo "missing: $$packages(tests that need them are skipped)" >&2; \
	[ "$${CI:-}" != true ]

firmware: ## of the boards, into build/firmware: make firmware LED=ws2815 LEDS=60, or CHIP=race
	@$(MAKE) -s --no-print-directory -C firmware/avr $(if $(FIRMWARE),FIRMWARE=$(abspath $(FIRMWARE)))

rig: build/sim/rig ## simulated boards: firmware/sim, built with simavr

# Where simavr's headers are, when not where the compiler looks anyway.
SIMAVR := $(shell pkg-config --variable=includedir simavr 2>/dev/null)

build/sim/rig: $(wildcard firmware/sim/*.c firmware/sim/*.h)
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -Wall -Wextra -D_GNU_SOURCE $(SIMAVR:%=-I%) -o $@ firmware/sim/*.c \
		$(shell pkg-config --libs-only-L simavr 2>/dev/null) -lsimavr -lelf -lm

demo: install ## the worm, touched on the nose: run, plot, replay
	@mkdir -p $(DEMO)
	$(BIN)/neurobus run configs/worm/worm.toml --clock virtual --pace 1 --for 3s \
		--set switches.touch_nose=true --record $(DEMO)/worm.mcap
	$(BIN)/neurobus plot $(DEMO)/worm.mcap -o $(DEMO)/worm.png
	$(BIN)/neurobus replay $(DEMO)/worm.mcap --rate 0.5
	@echo 'the picture: $(DEMO)/worm.png'

peers: install build/peers/.installed ## the same networks in NEST and in Brian2, spike for spike
	$(BIN)/python -m tests.peers --brian build/peers/bin/python --json build/peers.json

# Brian2 wants an older numpy, so it has an environment of its own. Without it NEST is compared alone.
build/peers/.installed:
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

train-report: install ## what thirty chips learn: the table in the README, every split (some minutes)
	@mkdir -p build
	$(BIN)/python -m tests.bench.learning --json build/train.json \
		$(addprefix --brian ,$(wildcard build/peers/bin/python))
	$(BIN)/python -m tests.bench.cycles --json build/cycles.json --plot build/cycles.png

demo-train: install ## thirty processes learn to read, with a picture of what each has learnt
	@mkdir -p $(DEMO)
	$(BIN)/neurobus train configs/digits/thirty.toml -o $(DEMO)/thirty.brain
	@echo 'what each has learnt: $(DEMO)/thirty.weights.png'
	@echo 'what is taken for what: $(DEMO)/thirty.confusion.png'
	@echo 'now try: neurobus brain load $(DEMO)/thirty.brain, and in another terminal: neurobus show 7'

demo-board: install system rig firmware ## a simulated board as a neuron: attached, pressed, unplugged, plugged
	$(BIN)/python firmware/demo.py

campaign: install system rig ## what boards must bear, at length: a thousand cables pulled, bit errors, power losses
	$(BIN)/python -m tests.firmware.campaign

bench: install $(VENV)/.bench ## the figures of merit, as a table and build/bench.json
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
