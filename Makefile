# make demo      see it work, on this machine, on loopback (ARGS=--once ends by itself)
# make test      everything that is checked on every change
# make check     formatting, clippy, configuration
# make campaign  the long forms of the tests (hours)
# make fuzz      libFuzzer on every parser of hostile octets (SECONDS=120 each; TARGETS="pdf zip" chooses)
# make worst     messages of 50 MiB that are made to hurt, through whole inspectors: memory and time of each
# make release   an optimised binary in target/release
# make install   binary, configuration, rules and units into $(DESTDIR)$(PREFIX)
# Both demo and test build the dev profile, so that one build serves both.

PREFIX ?= /usr
DESTDIR ?=
ARGS ?=
CARGO ?= cargo

.PHONY: demo test check campaign fuzz worst release install

demo:
	@tests/setup.sh
	@$(CARGO) run --locked -- demo $(ARGS)

# nextest where it is installed; its, or cargo's, closing line is the last one printed.
test:
	@tests/setup.sh
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --locked --no-fail-fast $(ARGS); \
	else \
		$(CARGO) test --locked --no-fail-fast $(ARGS); \
	fi

check:
	@tests/setup.sh build
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- --deny warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; else echo "cargo-deny is not installed: skipped"; fi
	$(CARGO) run --quiet --locked -- check --config config/luytre.toml

# The tests that have a long form, by parts of their names; ARGS chooses others. The dev profile, so that nothing is built twice.
CAMPAIGN = r02_power_cut mutant_ r01_kill_nine kill_9_under_load a_long_queue the_work_is what_other_programs archives::

campaign:
	@tests/setup.sh
	LUYTRE_CAMPAIGN=100000 LUYTRE_KILL_ROUNDS=200 $(CARGO) test --locked --lib --test it -- --nocapture $(or $(ARGS),$(CAMPAIGN))

# cargo-fuzz, with the compiler of the main package and without a sanitizer: the code is safe Rust, and what is looked for is panics,
# overflows (checked here), octets without bound and loops. Every target stops at its first fault and leaves the input in fuzz/artifacts.
SECONDS ?= 120
TARGETS ?= $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

fuzz:
	@tests/setup.sh build
	python3 fuzz/seeds.py fuzz/seeds tests/archives $(wildcard ../shared/testdata)
	RUSTC_BOOTSTRAP=1 $(CARGO) fuzz build --sanitizer none
	@for target in $(TARGETS); do \
		mkdir -p fuzz/corpus/$$target fuzz/seeds/$$target; \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 || exit 1; \
	done

worst: release
	benches/worst/run.py --binary target/release/luytre $(ARGS)

release:
	@tests/setup.sh build
	$(CARGO) build --locked --release

install: release
	install -D -m 755 target/release/luytre $(DESTDIR)$(PREFIX)/bin/luytre
	install -D -m 644 config/systemd/luytre.service $(DESTDIR)/lib/systemd/system/luytre.service
	install -D -m 644 config/systemd/luytre.socket $(DESTDIR)/lib/systemd/system/luytre.socket
	install -D -m 644 config/luytre.toml $(DESTDIR)$(PREFIX)/share/doc/luytre/luytre.toml
	install -D -m 644 README.md $(DESTDIR)$(PREFIX)/share/doc/luytre/README.md
	install -D -m 644 README.vi.md $(DESTDIR)$(PREFIX)/share/doc/luytre/README.vi.md
	mkdir -p $(DESTDIR)$(PREFIX)/share/luytre
	cp -r rules certs $(DESTDIR)$(PREFIX)/share/luytre/
	install -d -m 750 $(DESTDIR)/etc/luytre
	@if [ -z "$(DESTDIR)" ] && ! getent passwd luytre >/dev/null; then \
		useradd --system --home-dir /var/lib/luytre --shell /usr/sbin/nologin luytre && chgrp luytre /etc/luytre; \
	fi
	@echo "Next: luytre init, then systemctl enable --now luytre.socket luytre.service"
