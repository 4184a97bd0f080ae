# Every target is one command of setup_host (standard-library Python); `make help` lists them.
PYTHON ?= python3
SETUP = $(PYTHON) -m setup_host

# for `make clean`: names of work volumes to remove, too
WORK_VOLUMES ?=
# for `make accounts`: participants, instructors, and people who forgot their password
NAMES ?=
INSTRUCTORS ?=
RENEW ?=
# for `make test`: only these levels, such as LEVELS="unit engine"
LEVELS ?=

.DEFAULT_GOAL := help

help: ## what there is to make, and the settings
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16
	@echo
	@echo "Settings, as in GPUCAMP_PORT=8080 make run:"
	@$(SETUP) settings

run: ## set up what is missing, start the hub, say how to sign in
	@$(SETUP) run

stop: ## end the hub and the users' servers; their files stay
	@$(SETUP) stop

stop-engine: ## end the Docker Engine that make run started
	@$(SETUP) stop-engine

status: ## say what runs
	@$(SETUP) status

accounts: ## NAMES="ada lin" INSTRUCTORS="kim" RENEW="bob": accounts and first passwords
	@$(SETUP) accounts --names "$(NAMES)" --instructors "$(INSTRUCTORS)" --renew "$(RENEW)"

clean: ## remove all but people's work; WORK_VOLUMES="name ..." removes those, too
	@$(SETUP) clean --work-volumes "$(WORK_VOLUMES)"

test: ## set up what the tests need, run every level (LEVELS="unit engine": only these)
	@$(SETUP) test --levels "$(LEVELS)"

test-fast: ## the levels that need neither Docker nor a browser
	@$(SETUP) test-fast

soak: ## a million steps of the state machine of leases, on all cores (hours)
	@$(SETUP) soak

test-setup: ## what the tests need, without running them
	@$(SETUP) test-setup

perf: ## measure the start of a server beside stock DockerSpawner
	@$(SETUP) perf

perf-queue: ## how long the queue takes to decide, up to 4,000 devices and 10,000 who wait
	@$(SETUP) perf-queue

perf-doctor: ## how long the GPU doctor takes beside torch's collect_env, in one container
	@$(SETUP) perf-doctor

perf-ddp: ## what Launch DDP costs beside bare torchrun, and a flood of log lines
	@$(SETUP) perf-ddp

perf-rest: ## how long the service takes to answer with a year of history
	@$(SETUP) perf-rest

perf-live: ## what 200 open live pages cost the service: CPU and memory
	@$(SETUP) perf-live

perf-reset: ## how long a reset takes beside a plain start of the same server
	@$(SETUP) perf-reset

ddp-kills: ## a hundred random kills of ranks, agents, terminals, servers, containers (20 min)
	@$(SETUP) ddp-kills

storm: ## fifty participants press Start at once: is every grant right, how fast is the hub
	@$(SETUP) storm

compare-faults: ## the same faults on stock DockerSpawner and on gpucamp, side by side
	@$(SETUP) compare-faults

lint: ## check style and types
	@$(SETUP) lint

format: ## format all sources
	@$(SETUP) format

venv: ## the virtual environment, with what the tests need
	@$(SETUP) venv

front-end: ## build JupyterLab's part
	@$(SETUP) front-end

translations: ## compile the message catalogues
	@$(SETUP) translations

wheel: ## build the wheel into dist/
	@$(SETUP) wheel

image: ## build the image
	@$(SETUP) image

lock: ## resolve the Python requirements anew
	@$(SETUP) lock

.PHONY: help run stop stop-engine status accounts clean test test-fast soak test-setup perf \
	perf-queue perf-doctor perf-ddp perf-rest perf-live perf-reset ddp-kills storm compare-faults lint format venv \
	front-end translations wheel image lock
