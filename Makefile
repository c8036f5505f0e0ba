# Everything this project does, from nothing: Python 3.11 or later with pip, and make. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
PYTEST_ARGS ?=
PROVE_ARGS ?=
MINUTES ?= 3
# Years of made-up business for the ledger.
HISTORIES ?= $(if $(FULL),1000,200)
# Random walks with several faults.
WALKS ?= $(if $(FULL),5000,1000)
# Of the walks, of other samples and of the histories: others each night.
SEED_PROVE = $(or $(SEED),$(if $(FULL),$(shell date +%j),1))
CLIENTS ?= 8

UV := .uv/bin/uv
NODE_PACKAGES := build/clients/node_modules/.package-lock.json
export UV_PYTHON_DOWNLOADS := never
export PIP_ROOT_USER_ACTION := ignore
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Or each of many processes compiles everything again.
unexport PYTHONDONTWRITEBYTECODE
# uv reads none of pip's settings; these two matter where a mirror is used.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifdef PIP_CERT
export SSL_CERT_FILE ?= $(PIP_CERT)
endif

.PHONY: help install run demo test coverage prove mutants assumptions clients bench bill load vendor engines vendor-tools check format lock build deploy clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 12

run: .venv/ready .venv-ministack/ready ## serve the whole API on 127.0.0.1:$PORT (3000), without accounts or Docker (KEEP=dir keeps it between runs)
	@exec .venv/bin/python -m tests.local

demo: .venv/ready .venv-ministack/ready ## show in a terminal what happens to a line, from request to renewal, and end
	@.venv/bin/python -m tests.local.story

test: .venv/ready .venv-ministack/ready ## run every test (PYTEST_ARGS="-k word")
# In a new clone: compile once, beside the next step, what each of four processes would compile at the same time.
	[ -e tests/stories/__pycache__ ] || .venv/bin/pytest --collect-only -qq >/dev/null &
	[ -e .venv-ministack/lib/python3.*/site-packages/ministack/__pycache__ ] || .venv-ministack/bin/python -m compileall -q .venv-ministack/lib/
# A Node that cannot run TypeScript by itself runs the quickstart with these; the tests say if it did not run.
	(if command -v npm; then npm_config_fetch_retries=0 npm_config_fetch_timeout=20000 $(MAKE) $(NODE_PACKAGES) || true; fi) >/dev/null &
	.venv/bin/python -c 'from tests.local import deployment; deployment.layer_packages()'
	wait
# By file, so that what is prepared for a file is prepared once; four processes use the time that some wait.
	.venv/bin/pytest -n 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

coverage: ## run every test, and measure how many of the product's branches they take, with a floor
	$(MAKE) test PYTEST_ARGS="--cov $(PYTEST_ARGS)"

# Nine or ten minutes on two idle processors, a third of them for the ledger, which HISTORIES=50 shortens; with FULL=1, nightly, an hour.
prove: .venv/ready ## explore every interleaving with at most one fault, take random walks with more, keep the books of made-up years, find planted bugs (FULL=1: exhaust all; PREVIOUS=commit: run beside that release)
ifdef PREVIOUS
	.venv/bin/python -m tests.proof --previous $(PREVIOUS) $(if $(FULL),--full) $(PROVE_ARGS)
else
	.venv/bin/python -m tests.proof $(if $(FULL),--full) $(PROVE_ARGS)
	.venv/bin/python -m tests.proof --swarm $(WALKS) --seed $(SEED_PROVE)
	.venv/bin/python -m tests.proof --others $(if $(FULL),--full) --seed $(SEED_PROVE)
	.venv/bin/python -m tests.proof --ledger $(HISTORIES) --seed $(if $(FULL),$(SEED_PROVE)000,1) --mutants
endif

# Nightly: all of them, in an hour or so on two idle processors. BASE=main: only those of the lines that differ from it.
mutants: .venv/ready .venv-ministack/ready ## change the product by machine, and count which changes no test finds (BASE=main, SECONDS=180)
	.venv/bin/python -m tests.mutation --seed $(or $(SEED),$(shell date +%j)) $(if $(BASE),--base $(BASE)) \
		--seconds $(or $(SECONDS),$(if $(BASE),180,7200))

assumptions: .venv/ready ## try what is believed of Stripe on a test account (STRIPE_API_KEY=sk_test_…)
	.venv/bin/python -m tests.assumptions

clients: .venv/ready .venv-ministack/ready .venv-clients/ready $(NODE_PACKAGES) ## generate API clients in two languages and run stories with them (needs Node and npm)
	.venv/bin/pytest tests/vendor/check_clients.py

$(NODE_PACKAGES): $(addprefix tests/vendor/clients/,package.json package-lock.json .npmrc)
	mkdir -p build/clients
	cp $^ build/clients
	npm ci --prefix build/clients
	touch $@

bench: .venv/ready .venv-ministack/ready .venv-bench/ready ## measure beside the same service made of Powertools' parts, and beside no code at all (build/bench.json, .svg)
	POWERTOOLS_LOG_LEVEL=CRITICAL .venv/bin/python -m benchmark

bill: .venv/ready .venv-ministack/ready ## compute from template.yaml what AWS charges for an idle month at list prices
	.venv/bin/python -m benchmark.bill

load: .venv/ready .venv-ministack/ready ## put a sustained mixed load on the local stack and check what it left (MINUTES=3, CLIENTS=8)
	.venv/bin/python -m tests.load $(MINUTES) $(CLIENTS)

check: .venv/ready .venv-ministack/ready .venv-sam/ready .venv-checkov/ready .venv-audit/ready ## lint, types, import directions, vocabulary, the template, the API description, advisories
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/pytest -q tests/shape/test_vocabulary.py
	.venv/bin/openapi-spec-validator openapi.yaml
	$(SAM) validate --lint
	.venv-sam/bin/cfn-lint --regions ALL_REGIONS --include-checks I --non-zero-exit-code informational template.yaml
	mkdir -p build
	.venv-ministack/bin/python tests/shape/translate.py < template.yaml > build/translated.json
	.venv-checkov/bin/checkov --framework cloudformation --skip-download --compact --quiet -f build/translated.json
	.venv/bin/python -m tests.shape.audit

format: .venv/ready ## format and fix what can be fixed
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

install: .venv/ready .venv-ministack/ready .venv-sam/ready .venv-checkov/ready .venv-audit/ready ## make all virtual environments, and the layer's packages
	.venv/bin/python -c 'from tests.local import deployment; deployment.layer_packages()'

# --- virtual environments: locked by hash, made by uv, which pip brings ---

$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Python 3.11 or later is needed (make PYTHON=python3.12 …)" >&2; exit 1; }
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || { echo "pip is needed: $(PYTHON) -m ensurepip" >&2; exit 1; }
	$(PYTHON) -m pip install --quiet --upgrade --require-hashes --target .uv -r requirements/uv.txt
	touch $@

.venv/ready: requirements/dev.txt pyproject.toml
.venv-ministack/ready .venv-sam/ready .venv-checkov/ready .venv-audit/ready .venv-bench/ready .venv-runtime/ready .venv-clients/ready: .venv-%/ready: requirements/%.txt
.venv/ready .venv-ministack/ready .venv-sam/ready .venv-checkov/ready .venv-audit/ready .venv-bench/ready .venv-runtime/ready .venv-clients/ready: $(UV)
	$(UV) venv --quiet --clear --python $(PYTHON) $(@D)
	$(UV) pip install --quiet --python $(@D) --require-hashes -r $(filter %.txt,$^)
	$(if $(filter .venv,$(@D)),$(UV) pip install --quiet --python $(@D) --no-deps --editable .)
	touch $@

# Not in pyproject.toml, where it would also choose the wheels that a newer Python installs.
LOCK = $(UV) pip compile --quiet --upgrade --python-version 3.11
lock: $(UV) ## move every locked requirement to its latest version
	$(LOCK) pyproject.toml -o layers/requirements.txt
	$(LOCK) pyproject.toml --extra operator --group dev -c layers/requirements.txt -o requirements/dev.txt
	for group in ministack sam checkov audit runtime clients uv; do $(LOCK) --group $$group -o requirements/$$group.txt; done
	$(LOCK) --group bench -c layers/requirements.txt -o requirements/bench.txt

# --- the vendors' own engines: what they need is put into build/vendor ---

VENDOR := build/vendor
DYNAMODB_LOCAL := $(VENDOR)/dynamodb-local/DynamoDBOnLoopback.class
STRIPE_MOCK := $(VENDOR)/bin/stripe-mock
STRIPE_MOCK_MODULE := github.com/stripe/stripe-mock@v0.203.0
STRIPE_OPENAPI := $(VENDOR)/stripe-openapi.json

vendor: engines $(STRIPE_OPENAPI) ## make engines, then check the Stripe double's answers, SAM's guided deployment, generated clients (needs a JDK, Maven, Go; Node)
	.venv/bin/pytest tests/vendor/check_stripe_answers.py tests/vendor/check_deploy.py
	if command -v npm >/dev/null; then $(MAKE) clients; \
		else echo "NOT RUN: tests/vendor/check_clients.py, because no npm was found"; fi

engines: vendor-tools .venv/ready .venv-ministack/ready .venv-runtime/ready $(DYNAMODB_LOCAL) $(STRIPE_MOCK) build ## test on DynamoDB Local, stripe-mock and Lambda's emulator (needs a JDK, Maven, Go)
	cp .venv-sam/lib/python3.*/site-packages/samcli/local/rapid/aws-lambda-rie-$$(uname -m | sed s/aarch64/arm64/) $(VENDOR)/bin/aws-lambda-rie
	chmod +x $(VENDOR)/bin/aws-lambda-rie
# Not what a call costs: of a transaction DynamoDB Local counts the units of one item.
	RACE_ACTS=24 .venv/bin/python -m tests.vendor.on_dynamodb_local .venv/bin/pytest tests/store tests/races \
		--ignore=tests/store/test_costs.py
	.venv/bin/pytest tests/vendor/check_stripe_requests.py tests/vendor/check_lambda_runtime.py

vendor-tools:
	@missing=$$(for tool in javac mvn go; do command -v $$tool >/dev/null || printf ' %s' $$tool; done)
	[ -z "$$missing" ] || { echo "make vendor needs a JDK, Maven and Go; missing here:$$missing" >&2; exit 1; }

$(DYNAMODB_LOCAL): tests/vendor/pom.xml tests/vendor/DynamoDBOnLoopback.java | vendor-tools
	mvn --batch-mode --quiet --file $< dependency:copy-dependencies -DoutputDirectory=$(abspath $(@D))
	javac -cp '$(@D)/*' -d $(@D) tests/vendor/DynamoDBOnLoopback.java

$(STRIPE_MOCK): | vendor-tools
	GOBIN=$(abspath $(@D)) go install $(STRIPE_MOCK_MODULE)

$(STRIPE_OPENAPI): | $(STRIPE_MOCK)
	go mod download $(STRIPE_MOCK_MODULE)
	install -m 644 "$$(go env GOMODCACHE)/$(STRIPE_MOCK_MODULE)/embedded/openapi/spec3.json" $@

# --- AWS ---

# samconfig.toml expands the loops in its environment `default` alone.
SAM = SAM_CLI_TELEMETRY=0 SAM_CLI_ENABLE_LANGUAGE_EXTENSIONS=1 PYTHON=$(PYTHON) .venv-sam/bin/sam

build: .venv-sam/ready ## put what `make deploy` uploads into .aws-sam/build
	find functions -name __pycache__ -type d -prune -exec rm -rf {} +
	$(SAM) build

deploy: build ## deploy to AWS (SAM_ARGS="--config-env prod", …)
	$(SAM) deploy $(SAM_ARGS)

clean: ## remove what the targets above have made
	rm -rf .uv .venv .venv-ministack .venv-sam .venv-checkov .venv-audit .venv-bench .venv-runtime .venv-clients .aws-sam build .coverage .coverage.* .hypothesis \
		.mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find functions layers tests -name __pycache__ -type d -prune -exec rm -rf {} +
