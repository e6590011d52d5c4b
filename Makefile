# make demo   the whole pipeline on the bundled digits, ending with a table
# make test   every test, a process for each core (four at most); a file's tests stay together
# make check  format, lint, types, layers
# make docs   the documents as a site, build/site/index.html; fails where a link leads nowhere
# make results  runs an experiment of benchmarks/experiments/definitions and prints its table; it
#               goes on where it was stopped, and runs nothing twice. Without more, the digits; with
#               EXPERIMENT=NAME, SOURCE=IMAGES, PROJECT=FOLDER for what is prepared and kept
# make dependencies  writes into dvc.yaml and deps/ what code each stage runs, when an import changed
PYTHON ?= python3
EXPERIMENT ?= digits
PROJECT ?= results/$(EXPERIMENT)
ROWS ?= docs/results/$(EXPERIMENT).jsonl
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo results test check docs dependencies format install clean

demo: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro
	$(BIN)/python cli.py report --show

results: $(INSTALLED) $(PROJECT)/data/prepared
	$(BIN)/python -m benchmarks.experiments run $(EXPERIMENT) --project $(PROJECT) --out $(ROWS)
	$(BIN)/python -m benchmarks.experiments table $(ROWS)

$(PROJECT)/data/prepared: | $(INSTALLED)
	$(BIN)/python -m benchmarks.experiments prepare $(EXPERIMENT) --project $(PROJECT) \
		$(if $(SOURCE),--source $(SOURCE))

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
		--no-loadscope-reorder

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

docs: .venv/docs
	$(BIN)/python -m sphinx -q --fail-on-warning --keep-going --fresh-env --write-all \
		-c docs/site . build/site

.venv/docs: $(INSTALLED)
	$(BIN)/python -m pip install -qq --group docs
	touch $@

dependencies: $(INSTALLED)
	$(BIN)/python -m crest.pipeline.dependencies

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --upgrade "pip>=25.1"
	# One after the other: of all at once, pip's search for versions goes astray.
	$(BIN)/python -m pip install -qq --editable ".[all]"
	$(BIN)/python -m pip install -qq --group dev
	$(BIN)/python -m pip install -qq --editable ".[trainers]"
	touch $@

clean:
	rm -rf .venv
