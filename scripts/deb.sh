#!/bin/sh
# Builds the Debian packages out of what is committed or changed in the tree, and looks at them with lintian.
# usage: scripts/deb.sh DIR      (the packages end up there)
set -eu
cd "$(dirname "$0")/.."
out=${1:?usage: scripts/deb.sh DIR}

version=$(sed -n 's/^## *\([0-9][0-9.]*\).*/\1/p' CHANGELOG.md | head -1)
packaged=$(dpkg-parsechangelog --file debian/changelog --show-field Version)
[ "$version" = "$packaged" ] || {
	echo "scripts/deb.sh: CHANGELOG.md is at $version, debian/changelog at $packaged" >&2
	exit 1
}

# dpkg-buildpackage puts its results beside the tree: so a copy of the tree, in a folder of its own.
rm -rf "$out"
mkdir -p "$out/raftfs-$version"
git ls-files -co --exclude-standard -z | xargs -0 cp --parents -Pt "$out/raftfs-$version"
(
	cd "$out/raftfs-$version"
	unset MAKEFLAGS MFLAGS MAKELEVEL
	dpkg-buildpackage -us -uc -b -j"$(nproc)" >../build.log 2>&1 || {
		grep -B 2 -A 3 -E 'error:|Error [0-9]' ../build.log >&2 || tail -20 ../build.log >&2
		exit 1
	}
)
rm -rf "$out/raftfs-$version"
lintian --fail-on error "$out"/*.changes
ls "$out"/*.deb
