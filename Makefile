# Everything from a bare clone: `make run` serves, `make test` proves it.
PYTHON ?= python3
PORT ?= 8000
HOST ?= 127.0.0.1
STUDIES ?= demo/nuclei
ARCHIVE ?= demo/archive
MODELS ?= monailabel_app/model
CONF ?=

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

.PHONY: run run-dicom test lint install slicer demo constraints clean help

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.installed demo  ## install, make demo studies, serve (PORT, HOST, STUDIES, MODELS, CONF)
	@$(BIN)/python -m monailabel_app serve --studies "$(STUDIES)" --models "$(MODELS)" \
		--host $(HOST) --port $(PORT) $(CONF)

run-dicom: $(VENV)/.installed  ## install, start Orthanc with demo studies and the server on it (PORT, ARCHIVE, MODELS, CONF)
	@$(BIN)/python -m monailabel_app serve-dicom "$(ARCHIVE)" --models "$(MODELS)" \
		--port $(PORT) $(CONF)

test: $(VENV)/.installed-dev  ## install and run the whole test suite
	$(BIN)/python -m pytest --basetemp=.cache/pytest

lint: $(VENV)/.installed-dev  ## format, lint and type checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed  ## only install, into .venv

slicer: $(SLICER)/.installed  ## 3D Slicer's own code for the tests, about 1 GB, into .cache

demo: $(VENV)/.installed
	@test "$(STUDIES)" != demo/nuclei || $(BIN)/python -m monailabel_app demo-data demo/nuclei

$(VENV)/.installed: requirements.txt constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): about 5 minutes the first time"
	$(PIP) install --quiet -r requirements.txt
	@touch $@

$(SLICER)/.installed: tests/e2e/slicer/requirements.txt
	@test -x $(SLICER)/bin/python || $(PYTHON) -m venv $(SLICER)
	env -u XDG_CACHE_HOME -u XDG_CONFIG_HOME $(SLICER)/bin/python -m pip install --quiet -r $<
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(PIP) install --quiet -r requirements-dev.txt
	@touch $@

constraints: $(VENV)/.installed-dev  ## pin the newest versions that fit requirements-dev.txt
	@echo '# Exact versions for Python 3.10 to 3.12, made by `make constraints` from requirements-dev.txt.' > constraints.new
	grep -v '^-c' requirements.txt > .cache/requirements.in && grep -v '^-r' requirements-dev.txt >> .cache/requirements.in
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate \
		.cache/requirements.in >> constraints.new
	mv constraints.new constraints.txt

clean:  ## remove the environment and caches, keep studies and models
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache
