# Short names for the commands in tools/ and the presets in CMakePresets.json; nothing lives here.
#
#   CMAKE_FLAGS  more words for the configure step, e.g. CMAKE_FLAGS=-DLIBTORCH_ROOT=/opt/libtorch
#   CTEST_FLAGS  more words for ctest, e.g. CTEST_FLAGS="-R launch"
#   FUZZ, FUZZ_SECONDS   the fuzz targets to run (default: all), and for how long each

export CMAKE_FLAGS ?=
export CTEST_FLAGS ?=
FUZZ ?=
FUZZ_SECONDS ?= 60

.PHONY: help setup quickstart build test bench asan tsan fuzz cuda check lint clean

help:
	@echo "make quickstart  install, build, train a small GPT-2 on two CPU ranks, sample from it"
	@echo "make build       build/release/megalith and the tests"
	@echo "make test        build and run every test that needs no GPU"
	@echo "make check       formatting, layers, forbidden includes; make lint adds clang-tidy"
	@echo "make bench       operators, tokenizers, training, evaluation, conversion beside their peers, 90 minutes"
	@echo "make asan tsan   the tests under the address or thread sanitizer"
	@echo "make fuzz        feed the readers of foreign files with what nobody wrote, a minute each"
	@echo "make cuda        build for CUDA and NCCL, and run the tests that need a GPU"
	@echo "make setup       only install what is missing"
	@echo "make clean       remove build/ (not .venv, not runs/)"

setup:
	@tools/setup

quickstart:
	@tools/quickstart

build: setup
	cmake --preset release $(CMAKE_FLAGS)
	cmake --build --preset release -j $$(tools/jobs)

test: setup
	@tools/test release $(CMAKE_FLAGS)

asan tsan: setup
	@tools/test $@ $(CMAKE_FLAGS)

fuzz: setup
	@tools/fuzz --seconds $(FUZZ_SECONDS) $(FUZZ)

# The tests of preset cuda are skipped one by one, visibly, where there is no GPU.
cuda: setup
	@tools/test cuda $(CMAKE_FLAGS)

bench: setup
	cmake --preset release -B build/bench -DMEGALITH_BENCH=ON -DMEGALITH_TESTS=OFF $(CMAKE_FLAGS)
	cmake --build build/bench -j $$(tools/jobs)
	@tools/setup --bench
	build/bench/step_bench
	.venv/bin/python bench/tokenizers.py --bench build/bench/tokenizer_bench
	.venv/bin/python bench/preprocess.py --megalith build/bench/megalith
	.venv/bin/python bench/training.py --megalith build/bench/megalith
	.venv/bin/python bench/bert.py --megalith build/bench/megalith
	.venv/bin/python bench/evaluation.py --megalith build/bench/megalith --blocks 5
	.venv/bin/python bench/conversion.py --program build/bench/megalith

check:
	@tools/check --all

lint:
	@tools/check --all --lint

clean:
	rm -rf build
