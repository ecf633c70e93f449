# Needs Node.js 18 or newer, npm and make. Rollcall itself runs on the Node.js 24 that npm installs for it.

NODE := node_modules/.bin/node
RUN_TESTS := $(NODE) scripts/run-tests.ts
INSTALLED := node_modules/.installed

.DEFAULT_GOAL := help
.PHONY: help install run test check test-unit test-contract test-integration test-e2e bench format clean \
	node-version system-packages

help: ## Show this list
	@echo "Rollcall. Targets:"
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r t d; do printf '  %-18s %s\n' "$$t" "$$d"; done

install: node-version $(INSTALLED) ## Install the npm packages, when they have changed

run: install ## Install, then start the whole product on http://127.0.0.1:3000
	@exec $(NODE) bootstrap/start.ts

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

bench: install system-packages ## Measure against the peer in bench/peers
	@$(NODE) bench/run.ts

format: install ## Format all files
	@$(NODE) node_modules/prettier/bin/prettier.cjs --write --log-level warn .

clean: ## Delete the installed packages; the data in ./data stays
	rm -rf node_modules

node-version:
	@command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || { \
		echo "Rollcall needs Node.js 18 or newer with npm, which were not found: https://nodejs.org" >&2; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node, 10) < 18 ? 1 : 0)' || { \
		echo "Rollcall needs Node.js 18 or newer; this is $$(node --version): https://nodejs.org" >&2; exit 1; }

# Touched last, so that an installation which was interrupted is done again.
$(INSTALLED): package-lock.json
	@echo "Installing the npm packages ..."
	@npm ci --include=dev --loglevel=error --no-audit --no-fund --no-update-notifier
	@touch $@

system-packages:
	@scripts/install-system-packages.sh
