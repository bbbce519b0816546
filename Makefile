# What a contributor types. Every target says what it does; nothing here needs root, uv or an answer.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: install demo test test-faults lint format docs wheel bench bench-images lock clean

install: .venv/.installed  ## create .venv from the hashed lock file

.venv/.installed: requirements/dev.txt pyproject.toml
	@echo "==> installing the locked packages into .venv (torch is large: several minutes)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "make: $(PYTHON) cannot make a venv: install python3.11-venv, or name another with PYTHON="; exit 1; }
	$(BIN)/python -m pip install --require-hashes --progress-bar off -r requirements/dev.txt
	$(BIN)/python -m pip install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

demo: install  ## simulate, train, run the daemon on unseen images, show what it made of them
	$(BIN)/python -m demo

test: lint  ## lint, then every test, on all cores
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-faults: install  ## kill, starve and mislead the daemon in every way we know of; half an hour and more
	$(BIN)/python -m pytest $(FAULTS) --long

FAULTS := tests/faults tests/replay tests/inspection/test_mutations.py tests/daemon/test_formats.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: install  ## write anew what of docs/ is made from the code
	$(BIN)/python -m reference
	$(BIN)/python -m filing.boards > docs/board.schema.json

wheel: install  ## build dist/: the wheel and, beside it, the installer; both are all that a line PC needs of this folder
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir dist .
	cp systemd/install.sh dist
	rm -rf build
	@ls dist/*

bench: install  ## how near daemon and training come to what this machine can do; takes hours, and wants it for itself
	$(BIN)/python -m benchmarks.speed

bench-images: install  ## verdicts on real solder balls; needs their images beside the checkout, and ten minutes
	$(BIN)/python -m benchmarks.real_images

lock: install  ## resolve anew what pyproject.toml asks for, with hashes and without addresses
	$(BIN)/uv pip compile $(LOCK) --extra openvino pyproject.toml -o requirements/line.txt
	$(BIN)/uv pip compile $(LOCK) --extra openvino --extra review pyproject.toml -o requirements/review.txt
	$(BIN)/uv pip compile $(LOCK) --extra openvino --extra review --extra training pyproject.toml -o requirements/training.txt
	$(BIN)/uv pip compile $(LOCK) --extra openvino --extra review --extra training --extra replay --extra dev pyproject.toml -o requirements/dev.txt

LOCK := --upgrade --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	--no-annotate --python-version 3.11

clean:  ## remove everything that the other targets made
	rm -rf .venv demo-run demo-run.* bench-run.* .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
