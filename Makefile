# make serve   run the daemon on 127.0.0.1:8002 (make serve ARGS="--max-file-size 1GiB" for options)
# make stack   PostgreSQL, Redis, nginx and two daemons on loopback, to try (make stack ARGS="--port 8081")
# make test    lint, types, import rules and all tests
# make man     build its manual page, docs/filedrop.1, from its --help
# make conformance URL=http://127.0.0.1:8080   hold a one-time file drop to the cases of docs/exactly-once.md
#              (without URL: a filedropd of its own; ADAPTER= says how a file is left there)
# make screenshots   take a picture of each page into ./screenshots (ARGS=--readme: those of the README, anew)
# make bench   compare with nginx, copyparty and others, within ten minutes (make bench ROW=download ARGS="--runs 3")
# make bench-client   compare filedrop with curl (make bench-client ARGS="--size 1GiB")
#
# Both make .venv first. They need Python 3.11 or 3.12, make and git.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help serve stack test lint types imports trial man conformance screenshots bench bench-client format clean

SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for python in python3 python3.12 python3.11; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && { echo $$python; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# A plain editable install hides the plugin from twistd; this mode shows it.
INSTALL := $(PIP) install --config-settings editable_mode=compat --constraint constraints.txt

ARGS ?=
TESTS ?= tests

help:
	@sed -n 's/^# //p; /^$$/q' Makefile

serve: .venv/installed
	@echo 'Leave a file:   curl -F file=@README.md http://localhost:8002/api/v1.0/file'
	@echo 'Or shorter:     curl -T README.md http://localhost:8002/'
	@echo 'Then fetch the link it prints, once. Ctrl-C ends the daemon; files are kept in ./filedropd-data.'
	@exec $(BIN)/twistd --nodaemon --pidfile= filedropd $(ARGS)

stack: .venv/installed-test
	@exec $(BIN)/python -m tests.stack $(ARGS)

test: lint types imports trial

lint: .venv/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/installed-test
	$(BIN)/mypy

imports: .venv/installed-test
	$(BIN)/lint-imports

trial: .venv/installed-test
	$(BIN)/trial $(TESTS)

man: .venv/installed-test
	$(BIN)/python -m filedropd.client.manual > docs/filedrop.1

conformance: .venv/installed-test
	$(BIN)/python -m tests.conformance $(if $(URL),--url $(URL)) $(if $(ADAPTER),--adapter $(ADAPTER)) $(ARGS)

screenshots: .venv/installed-test
	$(BIN)/python -m tests.browser.screenshots $(ARGS)

bench: .venv/installed-bench
	$(BIN)/python -m bench.compare $(if $(ROW),--rows $(ROW)) $(ARGS)

bench-client: .venv/installed-test
	$(BIN)/python -m bench.client $(ARGS)

format: .venv/installed-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv _trial_temp* screenshots .mypy_cache .ruff_cache .hypothesis *.egg-info

.venv/made:
	@test -n '$(PYTHON)' || { echo 'filedropd needs Python 3.11 or 3.12 with venv; say where: make PYTHON=/path/to/python'; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: .venv/made setup.py pyproject.toml constraints.txt
	$(INSTALL) --editable .
	@touch $@

.venv/installed-test: .venv/installed
	$(INSTALL) --editable '.[test]'
	@touch $@

.venv/installed-bench: .venv/installed-test
	@if $(INSTALL) --editable '.[bench]'; then touch $@; \
	else echo 'What is installed for comparisons only cannot be had here, and is left out.'; fi
