# Thin: each target calls cargo or one script. `make test` and `make demo` need root and a Debian
# machine, and install what they lack.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
DESTDIR ?=
PAMDIR ?= /usr/lib/$(shell gcc -print-multiarch 2>/dev/null)/security

.PHONY: all build demo test test-all test-e2e bench install clean deps

all: build

deps:
	@tests/deps test

build:
	@tests/deps build
	$(CARGO) build

# Two users log in on a host that exists for half a minute.
demo: deps
	@$(CARGO) build --quiet --release
	@CGSANDBOX_RIG_BINARIES=$(TARGET)/release $(CARGO) run --quiet --package cgsandbox-e2e --example demo

# Everything; the last line is "N passed, N failed".
test: deps
	@tests/run

# That, and every test for systemd on every Debian and layout of cgroups. It takes hours.
test-all: deps
	@tests/run unit e2e vm systemd-all

# One promise: make test-e2e NAME=a_fork_bomb
test-e2e: deps
	$(CARGO) build
	$(CARGO) test -p cgsandbox-e2e $(NAME)

# What a login costs beside other modules, against the figures promised. OPENS=20 HELD=100: a glance.
OPENS ?= 200
HELD ?= 1000
bench:
	@tests/deps bench
	@$(CARGO) build --quiet --release
	@CGSANDBOX_RIG_BINARIES=$(TARGET)/release $(CARGO) run --quiet --release --package cgsandbox-bench -- $(OPENS) $(HELD)

install:
	$(CARGO) build --release
	install -D -m 0644 $(TARGET)/release/libpam_cgsandbox.so $(DESTDIR)$(PAMDIR)/pam_cgsandbox.so
	install -D -m 0755 $(TARGET)/release/cgsandbox-helper $(DESTDIR)/usr/libexec/cgsandbox/cgsandbox-helper
	install -D -m 0755 $(TARGET)/release/cgsandbox $(DESTDIR)/usr/bin/cgsandbox
	install -D -m 0644 config/cgsandbox.toml $(DESTDIR)/usr/lib/cgsandbox/cgsandbox.toml

clean:
	$(CARGO) clean
