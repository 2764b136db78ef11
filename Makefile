# Thin: each target calls cargo or one script. `make test` and `make demo` need root and a Debian
# machine, and install what they lack.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
DESTDIR ?=
# Debian's, by the machine's kind; else where libpam looks on machines with both widths, or one.
MULTIARCH := $(shell gcc -print-multiarch 2>/dev/null)
PAMDIR ?= $(if $(MULTIARCH),/usr/lib/$(MULTIARCH)/security,$(if $(wildcard /usr/lib64/security),/usr/lib64,/usr/lib)/security)
UNITDIR ?= /usr/lib/systemd/system
ZSHDIR ?= /usr/share/zsh/vendor-completions

.PHONY: all build demo test test-all test-e2e fuzz bench install dist deb rpm clean test-deps up-to-date

all: build

# What only tests need: an sshd, emulators, servers. For a machine that is for tests.
test-deps:
	@tests/deps test

build:
	@tests/deps build
	$(CARGO) build --release

# Two users log in on a host that exists for half a minute.
demo: test-deps
	@$(CARGO) build --quiet --release
	@CGSANDBOX_RIG_BINARIES=$(TARGET)/release $(CARGO) run --quiet --package cgsandbox-e2e --example demo

# Everything; the last line is "N passed, N failed".
test: test-deps
	@tests/run

# That, and every test for systemd on every Debian and layout of cgroups. It takes hours.
test-all: test-deps
	@tests/run unit fuzz e2e v1 faults deb rpm reproducible i386 vm-all systemd-all

# Each fuzz target for ten minutes, optimized. What fails is in target/fuzz-failures.
FUZZ_SECONDS ?= 600
fuzz:
	CGSANDBOX_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test --profile fuzz -p cgsandbox-helper --lib fuzz -- --nocapture

# One promise: make test-e2e NAME=a_fork_bomb
test-e2e: test-deps
	$(CARGO) build
	$(CARGO) test -p cgsandbox-e2e $(NAME)

# What a login costs beside other modules, against the figures promised. OPENS=20 HELD=100: a glance.
OPENS ?= 200
HELD ?= 1000
bench:
	@tests/deps bench
	@$(CARGO) build --quiet --release
	@$(CARGO) build --quiet --release --package cgsandbox-bench
	@CGSANDBOX_RIG_BINARIES=$(TARGET)/release $(TARGET)/release/cgsandbox-bench $(OPENS) $(HELD)

# What packages contain. BINARIES says where they are, if they have been built already.
ifeq ($(BINARIES),)
BINARIES := $(TARGET)/release
install: up-to-date
endif
# Root may have no cargo, where "make" was run by somebody else.
up-to-date:
	@if command -v $(CARGO) >/dev/null; then $(CARGO) build --release; \
	elif [ ! -e $(BINARIES)/cgsandbox ]; then echo "nothing is built yet: run make first" >&2; exit 1; fi
install:
	install -D -m 0644 $(BINARIES)/libpam_cgsandbox.so $(DESTDIR)$(PAMDIR)/pam_cgsandbox.so
	install -D -m 0755 -t $(DESTDIR)/usr/libexec/cgsandbox $(BINARIES)/cgsandbox-helper
	install -D -m 0755 -t $(DESTDIR)/usr/bin $(BINARIES)/cgsandbox
	install -D -m 0644 -t $(DESTDIR)/usr/lib/cgsandbox config/cgsandbox.toml
	install -D -m 0644 -t $(DESTDIR)/usr/share/doc/cgsandbox/docs docs/*
	install -D -m 0644 -t $(DESTDIR)/usr/share/doc/cgsandbox/examples config/examples/*
	install -D -m 0644 -t $(DESTDIR)/usr/share/man/man8 packaging/man/*.8
	install -D -m 0644 -t $(DESTDIR)/usr/share/man/man5 packaging/man/*.5
	install -D -m 0644 -t $(DESTDIR)$(UNITDIR) packaging/systemd/*.service packaging/systemd/*.timer packaging/systemd/*.slice
	install -D -m 0644 -t $(DESTDIR)$(UNITDIR)/user-runtime-dir@.service.d packaging/systemd/user-runtime-dir@.service.d/*
	install -D -m 0644 -t $(DESTDIR)/usr/lib/tmpfiles.d packaging/systemd/tmpfiles.d/*
	install -D -m 0644 -t $(DESTDIR)/etc/dbus-1/system.d packaging/dbus/*.conf
	install -D -m 0644 packaging/completions/cgsandbox.bash $(DESTDIR)/usr/share/bash-completion/completions/cgsandbox
	install -D -m 0644 -t $(DESTDIR)$(ZSHDIR) packaging/completions/_cgsandbox
	install -D -m 0644 -t $(DESTDIR)/usr/share/fish/vendor_completions.d packaging/completions/cgsandbox.fish

# The source with all that it is built of, for building without a network.
dist:
	@packaging/dist $(TARGET)/dist

# Packages for Debian, from that source; they are in target/deb.
deb:
	@tests/deps deb
	@packaging/deb/build $(TARGET)/deb

# RPMs, likewise; they are in target/rpm. What their SELinux module is compiled for is this host's
# policy: on Debian it is none that Fedora would load.
rpm:
	@tests/deps rpm
	@packaging/rpm/build "$$(packaging/dist $(TARGET)/dist)" $(TARGET)/rpm

clean:
	$(CARGO) clean
