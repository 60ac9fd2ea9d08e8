# make demo, make test: nothing else has to be known.
# PIP_ARGS is passed to pip, for example an index with CPU builds of torch.
PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?= -n 2

.PHONY: demo test lint docs install clean

install: $(VENV)/installed
demo: $(VENV)/installed
	$(BIN)/stemscout demo

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# mypy wants the package under its own name, and the root's folder may be called anything.
lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	typed=$$(mktemp -d) && ln -s "$$PWD" "$$typed/stemscout" && here="$$PWD" && cd "$$typed" \
		&& "$$here/$(BIN)/mypy" --config-file "$$here/pyproject.toml" -p stemscout; \
		status=$$?; rm -rf "$$typed"; exit $$status

docs: $(VENV)/installed
	$(BIN)/python docs/pictures.py
	$(BIN)/python docs/environments.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -c constraints.txt $(PIP_ARGS) -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -c constraints.txt $(PIP_ARGS) -e '.[dev,files]'
	touch $@ $(VENV)/installed

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
