# make demo   from Geant4 showers to a trained generator and a report, in one go
# make quick  ruff, and the tests that start no process, no Geant4, no browser and no training
# make test   everything that must hold before a change lands

PYTHON ?= python3
VENV ?= .venv
# torch is installed first and at one release: the resolver would otherwise take the newest one, and with
# it several gigabytes for GPUs. For the small CPU wheel where pip does not find it by itself:
#   make demo TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0

BIN := $(VENV)/bin

.PHONY: demo quick test clean

# Each run has a folder of its own; its last line is the path of the report.
demo: $(VENV)/.demo
	$(BIN)/caloforge demo -o demo/$$(date +%Y%m%d-%H%M%S)

quick: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pytest -n 2 --dist worksteal -m "not (process or geant4 or browser or training or long or slow)"

test: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/sp-repo-review --show err .
	$(BIN)/pytest -n 2 --dist worksteal --durations=25
	$(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) site

# The stamps make a second run start at once, until pyproject.toml changes.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install -e '.[geant4,report]'
	touch $@

# Dependency groups need a pip of 25.1 or later, newer than the one that venv brings.
$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install -e '.[all]' --group dev
	touch $@
