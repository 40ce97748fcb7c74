# Everything from a bare clone: `make run` serves, `make test` proves it.
PYTHON ?= python3
PORT ?= 8000
HOST ?= 127.0.0.1
STUDIES ?= demo/nuclei
ARCHIVE ?= demo/archive
MODELS ?= $(or $(UNETVNET_MODELS),monailabel_app/model)
CONF ?=
MINUTES ?= 2
INPUTS ?=
SEED ?= 0
SLOW ?=

VENV := .venv
BIN := $(VENV)/bin
# nothing is written outside the clone but pip's own cache, and MLflow does not call home
export XDG_CACHE_HOME ?= $(CURDIR)/.cache
export XDG_CONFIG_HOME ?= $(CURDIR)/.cache/config
export DO_NOT_TRACK ?= true
export MLFLOW_DISABLE_TELEMETRY ?= true
export MPLCONFIGDIR ?= $(CURDIR)/.cache/matplotlib
export MONAI_LABEL_SESSION_PATH ?= $(CURDIR)/.cache/sessions
export TMPDIR ?= $(CURDIR)/.cache/tmp
SLICER := $(CURDIR)/.cache/slicer
export SLICER_ENV ?= $(if $(wildcard $(SLICER)/.installed),$(SLICER))
export PIP_DISABLE_PIP_VERSION_CHECK := 1
$(shell mkdir -p .cache/tmp)
PIP := env -u XDG_CACHE_HOME -u XDG_CONFIG_HOME $(BIN)/python -m pip

.PHONY: run run-dicom test lint docs fuzz tasks audit install slicer demo models constraints clean help

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.installed demo  ## install, make demo studies, serve (PORT, HOST, STUDIES, MODELS, CONF)
	@$(BIN)/python -m monailabel_app serve --studies "$(STUDIES)" --models "$(MODELS)" \
		--host $(HOST) --port $(PORT) $(CONF)

run-dicom: $(VENV)/.installed  ## install, start Orthanc with demo studies and the server on it (PORT, ARCHIVE, MODELS, CONF)
	@$(BIN)/python -m monailabel_app serve-dicom "$(ARCHIVE)" --models "$(MODELS)" \
		--port $(PORT) $(CONF)

test: $(VENV)/.installed-dev  ## install and run the test suite, in JOBS processes (one per core, four at most), SLOW=1: all of it
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --basetemp=.cache/pytest \
		-n $(or $(JOBS),logical) --maxprocesses 4 --dist loadfile $(if $(SLOW),-m "")

lint: $(VENV)/.installed-dev  ## format, lint and type checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(if $(wildcard $(BIN)/hadolint),$(BIN)/hadolint Dockerfile)

docs: $(VENV)/.installed-docs  ## make the site of the documentation, in .cache/site/html (Python 3.11 or newer)
	@$(BIN)/python docs/site/stage.py .cache/site/source
	@$(BIN)/python -m sphinx --fail-on-warning --fresh-env --quiet -c docs/site -d .cache/site/doctrees \
		.cache/site/source .cache/site/html
	@echo "Open $(CURDIR)/.cache/site/html/index.html"

fuzz: $(VENV)/.installed-dev  ## read damaged files for MINUTES (2), or INPUTS of each type, on two processors, SEED 0
	$(BIN)/python -m fuzz --minutes $(MINUTES) --seed $(SEED) $(if $(INPUTS),--inputs $(INPUTS))

tasks: $(VENV)/.installed-dev  ## count clicks and seconds of everyday tasks in OHIF, write docs/tasks.md (needs Chromium, Orthanc)
	PYTHONPATH=.:tests/e2e $(BIN)/python -m tasks

audit: $(VENV)/.installed-dev  ## ask the advisory databases about the pinned packages (see docs/audit.md)
	$(BIN)/uvx pip-audit --requirement constraints.txt --no-deps --disable-pip

install: $(VENV)/.installed  ## only install, into .venv

slicer: $(SLICER)/.installed  ## 3D Slicer's own code for the tests, about 1 GB, into .cache

models: $(VENV)/.installed  ## list what was trained into MODELS, and what is served
	@$(BIN)/python -m monailabel_app models --models "$(MODELS)"

demo: $(VENV)/.installed
	@test "$(STUDIES)" != demo/nuclei || $(BIN)/python -m monailabel_app demo-data demo/nuclei

$(VENV)/.installed: requirements.txt constraints.txt $(wildcard stand_ins/*/*.*)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): about 5 minutes the first time"
	$(PIP) install --quiet -r requirements.txt
	@touch $@

$(SLICER)/.installed: tests/e2e/slicer/requirements.txt
	@test -x $(SLICER)/bin/python || $(PYTHON) -m venv $(SLICER)
	env -u XDG_CACHE_HOME -u XDG_CONFIG_HOME $(SLICER)/bin/python -m pip install --quiet -r $<
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-openvino.txt requirements-exchange.txt requirements-microscopy.txt $(VENV)/.installed
	$(PIP) install --quiet -r requirements-dev.txt
	@touch $@

$(VENV)/.installed-docs: requirements-docs.txt $(VENV)/.installed
	$(PIP) install --quiet -r requirements-docs.txt
	@touch $@

constraints: $(VENV)/.installed-dev  ## pin the newest versions that fit requirements*.txt
	@echo '# Exact versions for Python 3.10 to 3.12, made by `make constraints` from requirements*.txt.' > constraints.new
	cat requirements.txt requirements-openvino.txt requirements-exchange.txt requirements-microscopy.txt \
		requirements-dev.txt requirements-docs.txt | grep -v '^-[cr]' > .cache/requirements.in
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate \
		--no-emit-package pydicom-seg --no-emit-package numpymaxflow \
		.cache/requirements.in >> constraints.new
	mv constraints.new constraints.txt

clean:  ## remove the environment and caches, keep studies and models
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache
