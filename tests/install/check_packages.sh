#!/usr/bin/env bash
# Makes the Debian packages, installs them into a root of their own beside the packages this machine
# has, so that their dependencies count, trains there with gf-train, and removes them without a trace.
# Usage: check_packages.sh BUILD_DIR
set -euo pipefail
build=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "check_packages.sh: $*" >&2
  exit 1
}

rm -rf "$build/packages"
(cd "$build" && cpack) >"$work/log" 2>&1 || fail "$(cat "$work/log")"
packages=("$build"/packages/*.deb)
names=()
for package in "${packages[@]}"; do
  names+=("$(dpkg-deb --field "$package" Package)")
  dpkg-deb --contents "$package" | awk '{ print $6 }' >"$work/files"
  for file in copyright changelog.Debian.gz; do
    grep -q "^./usr/share/doc/${names[-1]}/$file$" "$work/files" || fail "${names[-1]} has no $file"
  done
done
for name in libgrassflow0 libgrassflow-dev grassflow-tools; do
  [[ " ${names[*]} " == *" $name "* ]] || fail "there is no package $name among ${names[*]}"
done

# As root dpkg sets owners; else fakeroot makes it believe so.
root=$work/root
dpkg=(dpkg --root="$root" --force-script-chrootless --log=/dev/null)
[[ $EUID -eq 0 ]] || dpkg=(fakeroot "${dpkg[@]}" --force-not-root)
mkdir -p "$root"/var/lib/dpkg/{info,updates,triggers}
cp /var/lib/dpkg/status "$root/var/lib/dpkg/status"
cp /var/lib/dpkg/arch "$root/var/lib/dpkg/arch" 2>/dev/null || true
"${dpkg[@]}" --install "${packages[@]}" >"$work/log" 2>&1 || fail "$(grep -v 'files list file' "$work/log")"

library=$(find "$root/usr/lib" -name libgrassflow.so.0)
readelf -d "$root"/usr/bin/gf-* "$library" | grep -E 'R(UN)?PATH' &&
  fail "a program or library has a search path"
for tool in gf-train gf-eval gf-tokenize gf-study gf-report; do
  [[ -f $root/usr/share/man/man1/$tool.1.gz ]] || fail "$tool has no manual page"
done
export LD_LIBRARY_PATH=${library%/*}
"$root/usr/bin/gf-train" --preset demo --max-steps 5 --output-dir "$work/run" >"$work/log" 2>&1 ||
  fail "gf-train failed: $(cat "$work/log")"
[[ -s $work/run/checkpoints/last.safetensors ]] || fail "gf-train left no checkpoint"

"${dpkg[@]}" --purge "${names[@]}" >"$work/log" 2>&1 || fail "$(grep -v 'files list file' "$work/log")"
left=$(find "$root" -path "$root/var/lib/dpkg" -prune -o ! -type d -print)
[[ -z $left ]] || fail "left after removal: $left"
echo "${names[*]}: installed, ran, removed"
