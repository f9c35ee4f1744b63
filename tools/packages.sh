# shellcheck shell=bash
# The Debian and Ubuntu packages of each purpose, and their installation. Sourced by speedrun.sh and
# tests/run.sh.

# packages_for build|tests|docs
packages_for() {
  case $1 in
    build) echo cmake ninja-build g++ libopenblas-serial-dev libutf8proc-dev nlohmann-json3-dev \
      libcli11-dev gnuplot-nox ;;
    tests) echo "$(packages_for build)" libcmocka-dev libpcre2-dev xz-utils python3 clang doxygen \
      abigail-tools pkg-config dpkg-dev fakeroot file \
      cargo golang-go python3-numpy python3-pip python3-setuptools python3-wheel ;;
    docs) echo "$(packages_for build)" doxygen ;;
    *)
      echo "packages.sh: no packages are listed for '$1': expected build, tests or docs" >&2
      return 2
      ;;
  esac
}

# A program counts wherever it came from, a library only as a package.
has_package() {
  case $1 in
    cmake | g++ | python3 | clang | doxygen | pkg-config | file | cargo) command -v "$1" ;;
    ninja-build) command -v ninja ;;
    gnuplot-nox) command -v gnuplot ;;
    xz-utils) command -v xz ;;
    golang-go) command -v gofmt ;;
    *) [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]] ;;
  esac >/dev/null
}

# install_packages build|tests|docs: installs those that are missing, if any, after saying so.
install_packages() {
  local packages package missing=() as_root=()
  packages=$(packages_for "$1") || return
  if ! command -v apt-get >/dev/null; then
    echo "No apt-get on this machine; CMake will name what is missing of: $packages" >&2
    return 0
  fi
  for package in $packages; do
    has_package "$package" || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0

  echo "Missing for the $1, now to be installed with apt-get: ${missing[*]}"
  if [[ $EUID -ne 0 ]]; then
    if ! command -v sudo >/dev/null; then
      echo "Not root, and there is no sudo. As root, run: apt-get install ${missing[*]}" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq || echo "apt-get update failed; trying with what is known" >&2
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null; then
    echo "apt-get failed, see above. To go on, install by hand: ${missing[*]}" >&2
    return 1
  fi
}
