# Needs make, a package index and Python 3.11 to 3.13 with venv. The environment in .venv is made
# on first use, reused afterwards, and brought up to date when setup.cfg or constraints.txt change.
# Choose the interpreter with `make PYTHON=python3.12 …`; without it the first that works serves.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
ARGS ?=
OUT ?= runs/demo
JOBS ?= 2
FULL ?=

PACKAGING := setup.cfg setup.py pyproject.toml constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Python's view of what is supported, and of which interpreter an environment was made from.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
IDENTITY := import os, sys; print(sys.version.split()[0], os.path.realpath(sys.base_prefix))

comma := ,

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help environment demo test lint format readme notebooks pair docs clean

help: ## list the targets
	@echo "make TARGET [PYTHON=python3.12] [ARGS='options for the command']"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-13s%s\n", $$1, $$2}'

demo: environment ## train image, audio and both on embedded digits; OUT=runs/demo
	@$(MAKE) -s $(VENV)/installed-base
	$(BIN)/mm-keras demo --output "$(OUT)" $(ARGS)

test: environment ## run every test, slow ones included
	@$(MAKE) -s $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=20 -m "" $(ARGS)

lint: environment ## check style and formatting
	@$(MAKE) -s $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: environment ## format, and fix what can be fixed
	@$(MAKE) -s $(VENV)/installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

readme: environment ## run the code of README.md
	@$(MAKE) -s $(VENV)/installed-test
	$(BIN)/python -m pytest -m "" tests/test_readme.py $(ARGS)

notebooks: environment ## execute the notebooks, two at a time; FULL=1 JOBS=1: on full data
	@$(MAKE) -s $(VENV)/installed-notebooks
	@ls notebooks/[0-9]*.py | xargs -P $(JOBS) -n 1 $(BIN)/python tools/notebooks.py execute \
	    $(if $(FULL),--full)

pair: environment ## write notebooks/*.ipynb from the .py beside each
	@$(MAKE) -s $(VENV)/installed-notebooks
	$(BIN)/python tools/notebooks.py pair

docs: environment ## build the documentation, docs/, as a site in build/site
	@$(MAKE) -s $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

clean: ## remove the environment, caches, build products and runs
	rm -rf $(VENV) build dist runs .pytest_cache .ruff_cache *.egg-info
	@find . -name .git -prune -o -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) \
	    -prune -exec rm -rf {} +

# Leaves a working .venv. Makes it anew if it is absent, was left half-way (no pip, or an
# interrupted installation), has an unsupported Python, was moved here, or differs from the PYTHON
# asked for.
environment:
	@set -e; \
	usable() { "$$1" -c '$(SUPPORTED)' >/dev/null 2>&1; }; \
	reason=; \
	if [ -e $(VENV) ]; then \
	    if [ -e $(VENV)/installing ]; then reason="its installation was interrupted"; \
	    elif ! usable $(BIN)/python; then reason="its Python does not run or is not supported"; \
	    elif ! $(BIN)/python -m pip --version >/dev/null 2>&1; then reason="it has no pip"; \
	    elif ! head -n 3 $(BIN)/pip | grep -qF "$(CURDIR)/$(VENV)/"; then \
	        reason="it was made in another place"; \
	    elif [ -n "$(PYTHON)" ] && usable "$(PYTHON)" && \
	        [ "$$($(BIN)/python -c '$(IDENTITY)')" != "$$("$(PYTHON)" -c '$(IDENTITY)')" ]; then \
	        reason="it was made from another Python than $(PYTHON)"; \
	    fi; \
	    if [ -z "$$reason" ] && { [ -z "$(PYTHON)" ] || usable "$(PYTHON)"; }; then exit 0; fi; \
	fi; \
	chosen=; without_venv=; \
	for candidate in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
	    if usable "$$candidate"; then \
	        if "$$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	            chosen=$$candidate; break; \
	        fi; \
	        without_venv="$$without_venv $$candidate"; \
	    fi; \
	done; \
	if [ -z "$$chosen" ] && [ -n "$$without_venv" ]; then \
	    echo "error: no venv for$$without_venv. On Debian and Ubuntu install python3-venv" \
	        "(or e.g. python3.11-venv); elsewhere a Python that has the ensurepip module." >&2; \
	    exit 1; \
	elif [ -z "$$chosen" ]; then \
	    echo "error: Python 3.11, 3.12 or 3.13 is needed. Tried:" \
	        "$(or $(PYTHON),python3.13 python3.12 python3.11 python3)." \
	        "Name one with PYTHON=/path/to/python." >&2; \
	    exit 1; \
	fi; \
	if [ -n "$$reason" ]; then echo "Making $(VENV) anew: $$reason."; fi; \
	echo "Making $(VENV) with $$("$$chosen" --version) ($$chosen)"; \
	rm -rf $(VENV); \
	mkdir $(VENV); \
	touch $(VENV)/installing; \
	"$$chosen" -m venv $(VENV); \
	rm $(VENV)/installing

# Stamps. `installing` marks an installation under way; what it leaves behind if interrupted may be
# broken, so `environment` starts again. A pip that fails by itself has changed nothing.
define install
@touch $(VENV)/installing
@echo "Installing $(1): TensorFlow and the rest take a few minutes the first time"
@$(PIP) install --quiet -c constraints.txt -e '$(2)' || { rm -f $(VENV)/installing; exit 1; }
@rm $(VENV)/installing
@touch $@
endef

$(VENV)/installed-base: $(PACKAGING)
	$(call install,mm_keras,.)

$(VENV)/installed-test: $(PACKAGING)
	$(call install,mm_keras and what its tests need,.[test$(comma)dev])
	@touch $(VENV)/installed-base

$(VENV)/installed-notebooks: $(PACKAGING)
	$(call install,mm_keras and what its notebooks need,.[notebooks])
	@touch $(VENV)/installed-base

$(VENV)/installed-docs: $(PACKAGING)
	$(call install,mm_keras and what its documentation needs,.[docs])
	@touch $(VENV)/installed-base
