# Everything happens in .venv, which the first target that needs it makes.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --prefer-binary -c constraints.txt

.PHONY: demo test test-torch lint clean

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "minidl needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv .venv
	$(INSTALL) -e '.[mpich,hep,test]'
	@touch $@

# A small version of the README's experiment: a few minutes on two cores, from nothing on the disk.
TRAIN ?= 6000
TEST ?= 4000
EPOCHS ?= 10
demo: .venv/installed
	$(BIN)/minidl generate hep --events $(TRAIN) --seed 1 --out demo/train.h5 --keep
	$(BIN)/minidl generate hep --events $(TEST) --seed 2 --out demo/test.h5 --keep
	$(BIN)/mpiexec -n 2 $(BIN)/minidl train hep --data demo/train.h5 --validation demo/test.h5 \
		--width 32 --batch-size 32 --epochs $(EPOCHS) --out demo/run --overwrite
	$(BIN)/minidl evaluate demo/run --data demo/test.h5
	@echo "Look at demo/run: roc.png, events.png, loss.png, log.jsonl, checkpoint.h5"

test: .venv/installed
	$(BIN)/pytest

# Against PyTorch, whose CPU build is several hundred MB.
.venv/torch: .venv/installed
	$(INSTALL) -e '.[torch]'
	@touch $@

test-torch: .venv/torch
	$(BIN)/pytest tests/test_torch.py

.venv/linters: .venv/installed
	$(INSTALL) -e '.[lint]'
	@touch $@

lint: .venv/linters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy minidl models

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
