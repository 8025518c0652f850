# Dormouse: `make run` shows what it does, `make test` proves it. See README.md.

PREFIX ?= /usr/local
DESTDIR ?=

# What is installed on Debian (12 or later) when it is missing: for building, for the tests, for `bench`, and for
# `test-all`.
BUILD_PACKAGES := build-essential gettext libadwaita-1-dev libgtk-4-dev
TEST_PACKAGES := $(BUILD_PACKAGES) adwaita-icon-theme appstream at-spi2-core bash bubblewrap busybox-static chromium dbus \
	default-jdk-headless desktop-file-utils emacs-nox erlang-base fatrace firefox-esr flatpak-builder fio fonts-cantarell gcc-multilib gdb gnome-calculator gnome-text-editor golang-go \
	imagemagick iproute2 kexec-tools less libglib2.0-bin libpam-systemd librsvg2-bin libxml2-utils lsof matchbox-window-manager memcached nodejs perl \
	polkitd postgresql python3 qemu-system-x86 redis-server redis-tools shared-mime-info sqlite3 systemd tigervnc-standalone-server tmux \
	twm util-linux vim weston x11-utils xdotool xterm xvfb
BENCH_PACKAGES := $(BUILD_PACKAGES) adwaita-icon-theme at-spi2-core dbus fonts-cantarell libglib2.0-bin lsof postgresql xvfb
ALL_PACKAGES := $(TEST_PACKAGES) gnome-shell gnome-shell-extension-appindicator kcalc \
	libreoffice-gtk3 libreoffice-writer mariadb-client mariadb-server nginx-light openssh-client openssh-server \
	python3-dbusmock python3-pika rabbitmq-server surf xdg-dbus-proxy

CARGO := $(or $(shell command -v cargo),$(wildcard $(HOME)/.cargo/bin/cargo),cargo)
# Freezing takes privileges: the build runs as you are, and what needs root goes through sudo.
ROOT := $(if $(filter-out 0,$(shell id -u)),sudo)
# Tests are run as root by cargo itself, with the environment that cargo makes for them.
RUNNER := $(if $(ROOT),$(ROOT) -E env PATH='$(PATH)')
TEST_TARGET = $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
HAS_NEXTEST = $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)
# With nextest or without; $(1) are more options for cargo, such as features.
runner = $(if $(RUNNER),CARGO_TARGET_$(TEST_TARGET)_RUNNER="$(RUNNER)") $(CARGO) $(if $(HAS_NEXTEST),nextest run --config-file tests/nextest.toml,test)
run_tests = $(runner) --workspace --lib --bins --tests --no-fail-fast $(1) -- $(skipped)
# By themselves: virtual machines leave little of the processors to whoever is beside them.
run_kernels = $(runner) --workspace --test kernels --features dormouse-tests/kernels --no-fail-fast

# Programs of the zoo that do not come back yet: their setting up is tested, their freeze and thaw is not. Each name here
# is a piece of work; nothing else may be left out.
GAPS :=
skipped = $(foreach gap,$(GAPS),--skip $(gap)::frozen)

BINARY := target/release/dormouse
SOURCES := $(shell find core -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock
bindir = $(DESTDIR)$(PREFIX)/bin
mandir = $(DESTDIR)$(PREFIX)/share/man/man1
bashdir = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
zshdir = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
fishdir = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d

# Installs those of the packages in $(1) that are missing, and says which. Quick and quiet when all are there.
define packages
	@command -v dpkg-query >/dev/null || { \
		echo "This is not Debian; please see to it that you have what these packages hold: $(1)"; exit 0; }; \
	missing=; \
	for package in $(1); do \
		test "$$(dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null)" = installed \
			|| missing="$$missing $$package"; \
	done; \
	test -n "$$missing" || exit 0; \
	echo "Installing from Debian:$$missing"; \
	case "$$missing" in *kexec-tools*) \
		echo 'kexec-tools kexec-tools/load_kexec boolean false' | $(ROOT) debconf-set-selections;; \
	esac; \
	$(ROOT) apt-get -qq update && \
	$(ROOT) env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends \
		$$missing >/dev/null
endef

.PHONY: help run test test-all bench rust install install-command uninstall uninstall-command \
	flatpak-sources clean

help:
	@echo 'make run        build it and open the window; without a display, see a real pipeline frozen and thawed'
	@echo 'make test       run the tests'
	@echo 'make test-all   run the slow tests too: GNOME Shell, more servers'
	@echo 'make bench      see how long freezes and thaws take here, and what the window costs'
	@echo 'make install    install the command, the service and the app into PREFIX ($(PREFIX))'
	@echo 'make uninstall  remove them'
	@echo 'make deb        make a package for Debian of all that is installed'
	@echo 'make flatpak-sources  write what the Flatpak of the app is built from'
	@echo 'make po         bring the translations up to date with what there is to translate'
	@echo 'make clean      remove what was built'

run: rust
	$(call packages,$(BUILD_PACKAGES) dbus adwaita-icon-theme)
	@$(CARGO) build --release --package dormouse-cli --package dormouse-app
	@if test -z "$$WAYLAND_DISPLAY$$DISPLAY"; then \
		echo 'There is no display for the window here; this is what the command does:'; \
		$(ROOT) $(BINARY) demo; \
	elif test -e /usr/share/dbus-1/system-services/io.github.dormouse.Dormouse1.service; then \
		target/release/dormouse-app; \
	else \
		sh data/try.sh $(BINARY) target/release/dormouse-app; \
	fi

# The programs that the tests start are built before them.
test: rust
	$(call packages,$(TEST_PACKAGES))
	@$(CARGO) build --workspace --bins
	@test -z '$(strip $(GAPS))' || echo 'Not tested, because they do not work yet: $(GAPS)'
	@$(run_kernels)
	@$(call run_tests)

test-all: rust
	$(call packages,$(ALL_PACKAGES))
	@$(CARGO) build --workspace --bins
	@$(run_kernels)
	@$(call run_tests,--features 'dormouse-tests/heavy dormouse-tests/shell')

# Figures and no proofs: how long freezes and thaws take, held against the disk itself and against bars; and how soon the window
# answers and what it costs.
bench: rust
	$(call packages,$(BENCH_PACKAGES))
	@$(CARGO) build --release --package dormouse-cli --package dormouse-app
	@$(if $(RUNNER),CARGO_TARGET_$(TEST_TARGET)_RUNNER="$(RUNNER)") $(CARGO) bench --package dormouse-tests

rust:
	@$(CARGO) --version >/dev/null 2>&1 || { \
		echo 'Rust is missing. Get it from https://rustup.rs as the user you are now, and run make again.'; exit 1; }

$(BINARY): $(SOURCES)
	$(CARGO) build --release --package dormouse-cli
	@touch $@

# After `make run` this builds nothing, so that `sudo make install` needs no Rust of root.
install: install-command install-service install-app
	@$(MAKE) --no-print-directory refresh

install-command: $(BINARY)
	install -d $(bindir) $(mandir) $(bashdir) $(zshdir) $(fishdir)
	install -s -m 755 $(BINARY) $(bindir)/dormouse
	$(BINARY) man $(mandir)
	chmod 644 $(mandir)/dormouse.1 $(mandir)/dormouse-*.1
	$(BINARY) completions bash > $(bashdir)/dormouse
	$(BINARY) completions zsh > $(zshdir)/_dormouse
	$(BINARY) completions fish > $(fishdir)/dormouse.fish
	chmod 644 $(bashdir)/dormouse $(zshdir)/_dormouse $(fishdir)/dormouse.fish

uninstall: uninstall-command uninstall-service uninstall-app
	@$(MAKE) --no-print-directory refresh

uninstall-command:
	rm -f $(bindir)/dormouse $(mandir)/dormouse.1 $(mandir)/dormouse-*.1
	rm -f $(bashdir)/dormouse $(zshdir)/_dormouse $(fishdir)/dormouse.fish

clean:
	$(CARGO) clean

# What flatpak/ needs to build without a network.
flatpak-sources:
	awk -f flatpak/cargo-sources.awk Cargo.lock > flatpak/cargo-sources.json

include data/install.mk po/translations.mk
