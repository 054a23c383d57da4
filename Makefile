# raftfs: one Makefile that reads from top to bottom. `make help` lists what there is to make.
#
#   MODE=release|debug|asan|tsan|cov|fuzz   how to build; outputs stand in build/$(MODE)/
#   MOUNT=./mnt   CLUSTER=cluster.toml      for up and down
#   SEEDS=a..b                              for sim
#   EXTRA_FLAGS=, EXTRA_LDFLAGS=            more for the compilers and the linker
#   V=1                                     show the compilers' commands

MODE    ?= release
MOUNT   ?= ./mnt
CLUSTER ?= cluster.toml
SEEDS   ?= 1..20000
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600
DESTDIR ?=
PREFIX  ?= /usr/local

B   := build/$(MODE)
Q   := $(if $(V),,@)
BIN := $(if $(filter release,$(MODE)),bin,$(B)/bin)

# ---- compilers ----

CC  := $(if $(filter fuzz,$(MODE)),clang,gcc)
CXX := $(if $(filter fuzz,$(MODE)),clang++,g++)

MODE_FLAGS_release := -O2 -g
MODE_FLAGS_debug   := -O0 -g3
MODE_FLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined \
		      -fno-omit-frame-pointer
MODE_FLAGS_tsan    := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
MODE_FLAGS_cov     := -O0 -g --coverage
MODE_FLAGS_fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined
MODE_FLAGS         := $(MODE_FLAGS_$(MODE)) $(EXTRA_FLAGS)

WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum \
	-Wvla -Wformat=2 -Werror
VERSION  := $(shell sed -n 's/^\#\# *\([0-9][0-9.]*\).*/\1/p' CHANGELOG.md | head -1)
CPPFLAGS := -D_GNU_SOURCE -DRAFTFS_VERSION='"$(VERSION)"' -I$(B)/gen -MMD -MP
CFLAGS   := -std=c11 -pthread $(WARN) $(MODE_FLAGS)
CXXFLAGS := -std=c++17 -Wall -Wextra -Werror $(MODE_FLAGS)
LDFLAGS  := -pthread $(MODE_FLAGS) -Wl,--as-needed $(EXTRA_LDFLAGS)
LDLIBS   := -luv -lprotobuf-c -lrocksdb -lisal -lxxhash -lfuse3 -ljansson -ledit -lncursesw -ltinfo \
	    -lmicrohttpd -larchive -lssl -lcrypto -lm -lstdc++
TESTLIBS := -lcheck -lsubunit -lm -lrt

# ---- what is built from what ----

MAINS    := src/raftd/main.c src/raftctl/main.c fuse/main.c
LIB_SRC  := $(filter-out $(MAINS),$(wildcard src/*/*.c fuse/*.c))
LIB_OBJ  := $(LIB_SRC:%.c=$(B)/%.o) $(B)/vendor/toml/toml.o $(B)/gen/raftfs.pb-c.o $(B)/gen/page.o
LIB      := $(B)/libraftfs.a
PROGRAMS := $(BIN)/raftd $(BIN)/raftctl $(BIN)/raftfs
HELPER   := $(BIN)/mount.raftfs

SUPPORT_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/support/*.c))
SUPPORT     := $(B)/libsupport.a
UNIT        := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
GOLDEN_OBJ  := $(patsubst %.c,$(B)/%.o,$(wildcard tests/golden/*.c))
SIM_OBJ     := $(patsubst %.c,$(B)/%.o,$(wildcard tests/sim/*.c))
GOLDEN      := $(if $(GOLDEN_OBJ),$(B)/golden)
SIM         := $(if $(SIM_OBJ),$(B)/simulator)
EXERCISE    := $(B)/exercise
FUZZERS     := $(patsubst tests/fuzz/%.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: all up down test check-programs heavy exercise soak sim mutants sim-mutants known-bugs bench fuzz asan tsan tidy format cov install help \
	clean deps deps-test deps-dev
.DELETE_ON_ERROR:
.SECONDARY:

## all: build bin/raftd, bin/raftctl, bin/raftfs (installs missing Debian packages first)
all: deps
	@$(MAKE) --no-print-directory $(PROGRAMS) $(HELPER)

# The same without a look at packages: for who builds packages.
programs: $(PROGRAMS) $(HELPER)

deps:
	@scripts/deps.sh build
deps-test:
	@scripts/deps.sh build test
deps-dev:
	@scripts/deps.sh build test dev

# mount(8)'s helper is the mount under another name.
$(BIN)/mount.raftfs: $(BIN)/raftfs
	$(Q)ln -sf raftfs $@

$(BIN)/raftd: $(B)/src/raftd/main.o $(LIB)
$(BIN)/raftctl: $(B)/src/raftctl/main.o $(LIB)
$(BIN)/raftfs: $(B)/fuse/main.o $(LIB)
$(PROGRAMS):
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LD   $@';) $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB) $(LDLIBS)

$(LIB): $(LIB_OBJ)
$(SUPPORT): $(SUPPORT_OBJ)
$(LIB) $(SUPPORT):
	@echo '  AR   $@'; rm -f $@
	$(Q)ar rcs $@ $^

$(B)/gen/raftfs.pb-c.c: src/wire/raftfs.proto
	@mkdir -p $(@D)
	$(Q)protoc-c --proto_path=src/wire --c_out=$(B)/gen raftfs.proto
$(B)/gen/raftfs.pb-c.h: $(B)/gen/raftfs.pb-c.c ;
$(B)/gen/raftfs.pb-c.o: $(B)/gen/raftfs.pb-c.c
	$(if $(V),,@echo '  CC   $@';) $(CC) $(CPPFLAGS) -std=c11 $(MODE_FLAGS) -c -o $@ $<

# The page that each node serves, as an object with its bytes.
$(B)/gen/page.o: src/metrics/page.html
	@mkdir -p $(@D)
	$(Q)ld -r -b binary -z noexecstack -o $@ $<

# Only src/wire/ reads the generated header, and it has to be there first.
$(patsubst %.c,$(B)/%.o,$(wildcard src/wire/*.c)): | $(B)/gen/raftfs.pb-c.h

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC   $@';) $(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
$(B)/%.o: %.cc Makefile
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CXX  $@';) $(CXX) $(CPPFLAGS) $(CXXFLAGS) -c -o $@ $<

# ---- running ----

## up: build, start the nodes of CLUSTER, mount MOUNT (./mnt)
up: all
	@MOUNT='$(MOUNT)' CLUSTER='$(CLUSTER)' scripts/up.sh

## down: unmount, stop the nodes; data stays
down:
	@MOUNT='$(MOUNT)' CLUSTER='$(CLUSTER)' scripts/down.sh

# ---- shipping ----

.PHONY: programs install-files deb test-deb

BINDIR    ?= $(PREFIX)/bin
MANDIR    ?= $(PREFIX)/share/man
DOCDIR    ?= $(PREFIX)/share/doc/raftfs
COMPDIR   ?= $(PREFIX)/share/bash-completion/completions
# Where mount(8), systemd and its friends look, whatever the prefix is.
HELPERDIR ?= /usr/sbin
UNITDIR   ?= /usr/lib/systemd/system
USERSDIR  ?= /usr/lib/sysusers.d
TMPDIR_D  ?= /usr/lib/tmpfiles.d
INSTALL_DATA := install -m 0644

## install: programs, mount.raftfs, manuals, completion, units below DESTDIR, PREFIX
install: all install-files
install-files:
	install -d $(foreach d,$(BINDIR) $(HELPERDIR) $(MANDIR)/man1 $(MANDIR)/man5 $(MANDIR)/man8 $(DOCDIR)/examples \
		$(COMPDIR) $(UNITDIR) $(USERSDIR) $(TMPDIR_D),'$(DESTDIR)$(d)')
	install -m 0755 $(PROGRAMS) '$(DESTDIR)$(BINDIR)/'
	ln -sfr '$(DESTDIR)$(BINDIR)/raftfs' '$(DESTDIR)$(HELPERDIR)/mount.raftfs'
	$(INSTALL_DATA) docs/man/*.1 '$(DESTDIR)$(MANDIR)/man1/'
	$(INSTALL_DATA) docs/man/*.5 '$(DESTDIR)$(MANDIR)/man5/'
	$(INSTALL_DATA) docs/man/*.8 '$(DESTDIR)$(MANDIR)/man8/'
	for p in raftd raftfs raftctl; do $(INSTALL_DATA) contrib/completion/raftfs.bash "$(DESTDIR)$(COMPDIR)/$$p" || exit 1; done
	sed 's|@bindir@|$(BINDIR)|' contrib/systemd/raftd@.service >'$(DESTDIR)$(UNITDIR)/raftd@.service'
	chmod 0644 '$(DESTDIR)$(UNITDIR)/raftd@.service'
	$(INSTALL_DATA) contrib/systemd/raftfs.sysusers '$(DESTDIR)$(USERSDIR)/raftfs.conf'
	$(INSTALL_DATA) contrib/systemd/raftfs.tmpfiles '$(DESTDIR)$(TMPDIR_D)/raftfs.conf'
	$(INSTALL_DATA) README.md ARCHITECTURE.md CHANGELOG.md $(wildcard docs/*.md) '$(DESTDIR)$(DOCDIR)/'
	$(INSTALL_DATA) cluster.toml examples/*.toml contrib/systemd/mnt-raft.mount contrib/grafana.json \
		'$(DESTDIR)$(DOCDIR)/examples/'

## deb: Debian packages in build/deb/
deb:
	@scripts/deps.sh build deb
	@scripts/deb.sh build/deb

.PHONY: test-readme
## test-readme: README's first screen, word for word, in a fresh Debian 12 (as above)
test-readme:
	@scripts/deps.sh deb
	@scripts/test-readme.sh
	@scripts/test-readme.sh reader

## test-deb: install, use and remove the packages in a fresh Debian 12 (long; needs root and the network)
test-deb: deb
	@scripts/test-deb.sh build/deb

# ---- tests ----

$(B)/tests/test_%: $(B)/tests/unit/test_%.o $(SUPPORT) $(LIB)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LD   $@';) $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(SUPPORT) $(LIB) $(TESTLIBS) $(LDLIBS)
$(B)/golden: $(GOLDEN_OBJ) $(SUPPORT) $(LIB)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LD   $@';) $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(SUPPORT) $(LIB) $(LDLIBS)
$(B)/simulator: $(SIM_OBJ) $(SUPPORT) $(LIB)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LD   $@';) $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(SUPPORT) $(LIB) $(LDLIBS)

$(EXERCISE): $(B)/tests/exercise/exercise.o
	$(if $(V),,@echo '  LD   $@';) $(CC) $(LDFLAGS) -o $@ $<

check-programs: $(PROGRAMS) $(HELPER) $(UNIT) $(GOLDEN) $(SIM) $(EXERCISE)

## test: everything that fits in ten minutes; the last line counts it
test: deps-test
	@$(MAKE) --no-print-directory check-programs
	@MODE='$(MODE)' B='$(B)' RAFTFS_BIN='$(abspath $(BIN))' scripts/test.sh $(TESTS)

.PHONY: test-web
## test-web: the page of a node in a real browser (installs chromium)
test-web: deps-test
	@scripts/deps.sh web
	@$(MAKE) --no-print-directory $(PROGRAMS) $(HELPER)
	@RAFTFS_BIN='$(abspath $(BIN))' python3 tests/e2e/run.py -k test_metrics

## sim: the cluster simulator over SEEDS=a..b
sim: deps-test
	@$(MAKE) --no-print-directory $(SIM)
	$(SIM) --seeds $(SEEDS)

## heavy: programs that take long (git, fio, stress-ng, PostgreSQL, NFS; installed first), and large sizes
heavy: deps-test
	@scripts/deps.sh heavy
	@$(MAKE) --no-print-directory check-programs
	@E2E_FULL=1 LARGE_DIR_FILES=$(or $(LARGE_DIR_FILES),1000000) B='$(B)' RAFTFS_BIN='$(abspath $(BIN))' \
		/usr/bin/python3 tests/e2e/run.py -v -k 'test_heavy|test_large_dir|test_tools|sqlite|each_once'

## exercise: EXERCISE_OPS=1000000 random operations on two mounts, against a model (EXERCISE_SEED=n)
exercise: deps-test
	@$(MAKE) --no-print-directory check-programs
	@B='$(B)' RAFTFS_BIN='$(abspath $(BIN))' EXERCISE_OPS=$(or $(EXERCISE_OPS),1000000) \
		EXERCISE_SEED=$(or $(EXERCISE_SEED),1) /usr/bin/python3 tests/e2e/run.py -v -k exercise.*two_mounts

## mutants: does the simulator find each of the defects in tests/mutants? (also: sim-mutants)
mutants sim-mutants: deps-test
	@$(MAKE) --no-print-directory $(SIM)
	@B='$(B)' tests/mutants/run.sh $(MUTANTS)

## known-bugs: does each scenario of docs/known-bugs.md fail with the bug that it is named after?
known-bugs: deps-test
	@$(MAKE) --no-print-directory check-programs
	@B='$(B)' tests/mutants/known-bugs.sh $(BUG)

## asan: the whole test suite under AddressSanitizer and UBSan
asan:
	@$(MAKE) --no-print-directory MODE=asan test

## tsan: unit tests, golden traces and simulator under ThreadSanitizer
tsan:
	@$(MAKE) --no-print-directory MODE=tsan TESTS='unit golden sim' test

## soak: faults of every kind at once for SOAK_SECONDS, on real processes and mounts
soak: deps-test
	@$(MAKE) --no-print-directory $(PROGRAMS)
	@SOAK_SECONDS='$(SOAK_SECONDS)' RAFTFS_BIN='$(abspath $(BIN))' /usr/bin/python3 tests/e2e/run.py -v -k test_soak

## bench: the mount and the machine's floor, side by side, as ratios
bench: all
	@tests/bench/run.sh

## fuzz: each fuzzer for FUZZ_SECONDS
fuzz: deps-dev
	@$(MAKE) --no-print-directory MODE=fuzz fuzz-run
.PHONY: fuzz-run
fuzz-run: $(FUZZERS)
	@for f in $(FUZZERS); do FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run.sh $$f || exit 1; done
$(B)/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(SUPPORT) $(LIB)
	$(if $(V),,@echo '  LD   $@';) $(CXX) $(LDFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(SUPPORT) $(LIB) $(LDLIBS)

## tidy: layers, banned calls, formatting, clang-tidy, cppcheck
tidy: deps-dev $(B)/gen/raftfs.pb-c.h
	@scripts/tidy.sh $(B)/gen

## format: clang-format over the tree
format: deps-dev
	clang-format -i $$(git ls-files 'src/*.[ch]' 'fuse/*.[ch]' 'tests/*.[ch]' 'vendor/*.[ch]' 'vendor/*.cc')

## cov: line coverage of unit tests, golden traces and simulator
cov: deps-dev
	@$(MAKE) --no-print-directory MODE=cov TESTS='unit golden sim' test
	lcov --quiet --capture --directory build/cov --output-file build/cov/all.info
	lcov --quiet --extract build/cov/all.info '*/src/*' '*/fuse/*' --output-file build/cov/lines.info
	lcov --list build/cov/lines.info

## clean: remove build/ and bin/
clean:
	rm -rf build bin

## help: this list
help:
	@sed -n 's/^## \([a-z-]*\): /  \1\t/p' Makefile | expand -t 14

-include $(shell find $(B) -name '*.d' 2>/dev/null)
