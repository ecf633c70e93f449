# Needs Node.js 18 or newer, npm and make. Rollcall itself runs on the Node.js 24 that npm installs for it.

NODE := node_modules/.bin/node
RUN_TESTS := $(NODE) scripts/run-tests.ts
INSTALLED := node_modules/.installed
IMAGE := rollcall:$(shell sed -n 's/^  "version": "\(.*\)",/\1/p' package.json)

.DEFAULT_GOAL := help
.PHONY: help install run test check test-unit test-contract test-integration test-e2e test-chaos bench format clean \
	image up down logs smoke cluster-create deploy-all status delete-all \
	node-version docker-ready compose-ready system-packages

help: ## Show this list
	@echo "Rollcall. Targets:"
	@sed -n 's/^\([a-z0-9%-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r t d; do printf '  %-18s %s\n' "$$t" "$$d"; done

install: node-version $(INSTALLED) ## Install the npm packages, when they have changed

run: install ## Install, then start the whole product on http://127.0.0.1:3000
	@exec $(NODE) bootstrap/start.js

test: install system-packages ## Run everything: types, lint, format and all tests
	@$(RUN_TESTS)

check: install ## Check types, lint and format
	@$(RUN_TESTS) types lint format

test-unit: install ## Run the unit tests
	@$(RUN_TESTS) unit

test-contract: install system-packages ## Run the contract tests
	@$(RUN_TESTS) contract

test-integration: install system-packages ## Run the integration tests
	@$(RUN_TESTS) integration

test-e2e: install system-packages ## Run the end-to-end tests
	@$(RUN_TESTS) e2e

test-chaos: install system-packages ## Kill relay, consumers and NATS again and again for 75 s, under 300 writes a second
	@CHAOS_SECONDS=75 $(NODE) --experimental-vm-modules --disable-warning=ExperimentalWarning \
		node_modules/jest/bin/jest.js --selectProjects e2e --testPathPatterns chaos

bench: install system-packages ## Measure against the peer in bench/peers
	@$(NODE) bench/run.ts
	@$(NODE) bench/metrics.ts
	@$(NODE) bench/events.ts
	@$(NODE) bench/auth.ts
	@$(NODE) bench/cache.ts
	@$(NODE) bench/media.ts
	@$(NODE) bench/images.ts

format: install ## Format all files
	@$(NODE) node_modules/prettier/bin/prettier.cjs --write --log-level warn .

clean: ## Delete the installed packages; the data in ./data stays
	rm -rf node_modules

image: docker-ready ## Build the container image, the same for every service
	@docker build --tag $(IMAGE) .

up: compose-ready ## Start Rollcall as nodes in containers, with the servers they need
	@[ -d secrets ] || ! docker volume inspect rollcall_postgres-data >/dev/null 2>&1 || { \
		echo "There is data of other secrets: bring back their folder ./secrets, or delete the data:" >&2; \
		echo "  docker volume rm rollcall_postgres-data" >&2; exit 1; }
	@scripts/make-secrets.sh secrets
	@docker compose up --build --detach --wait
	@echo "Rollcall is ready at http://$$(docker compose port gateway 3000), Prometheus at http://$$(docker compose port prometheus 9090)"

down: compose-ready ## Stop the containers; their data stays in volumes
	@docker compose down

logs: compose-ready ## Follow the logs of the containers
	@docker compose logs --follow --tail 100

smoke: install compose-ready ## Run the tour of the README against the containers
	@$(NODE) scripts/smoke.ts "http://$$(docker compose port gateway 3000)" secrets/admin-password

cluster-create: ## Create a Kubernetes cluster on this machine, with kind
	@kind create cluster --name rollcall --wait 3m

deploy-all: image ## Deploy everything to the cluster of kubectl's current context, and wait until it is ready
	@scripts/deploy.sh $(IMAGE)

status: ## Show what runs in the cluster
	@kubectl --namespace rollcall get deployments,statefulsets,jobs,pods,services,ingresses,hpa,pdb,pvc

logs-%: ## Follow the logs of one service in the cluster: make logs-gateway
	@kubectl --namespace rollcall logs --selector app.kubernetes.io/component=$* --prefix --follow --tail 100

delete-all: ## Delete everything from the cluster, data included
	@kubectl delete namespace rollcall --ignore-not-found

node-version:
	@command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || { \
		echo "Rollcall needs Node.js 18 or newer with npm, which were not found: https://nodejs.org" >&2; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node, 10) < 18 ? 1 : 0)' || { \
		echo "Rollcall needs Node.js 18 or newer; this is $$(node --version): https://nodejs.org" >&2; exit 1; }

docker-ready:
	@command -v docker >/dev/null || { \
		echo "This needs Docker, which was not found: https://docs.docker.com/get-docker" >&2; exit 1; }
	@docker info >/dev/null 2>&1 || { \
		echo "Docker does not answer. Is it running, and may this user use it? 'docker info' says more." >&2; exit 1; }

compose-ready: docker-ready
	@docker compose version >/dev/null 2>&1 || { \
		echo "This needs the plugin compose of Docker: https://docs.docker.com/compose/install" >&2; exit 1; }

# Touched last, so that an installation which was interrupted is done again.
$(INSTALLED): package-lock.json
	@echo "Installing the npm packages ..."
	@npm ci --include=dev --loglevel=error --no-audit --no-fund --no-update-notifier
	@$(NODE) bootstrap/compile.js
	@touch $@

system-packages:
	@scripts/install-system-packages.sh
