#!/usr/bin/env bash
# Fills data/ with the public corpora and vocabularies; see usage() below.
set -euo pipefail

usage() {
  cat <<'END'
Usage: tools/fetch-data.sh [--from DIR] [DEST]

Fills DEST (data/ of the source tree) with WikiText-2, SNLI, Tiny Shakespeare and
the vocabularies of GPT-2 and BERT: half a gigabyte, most of it SNLI. Files that are
already right are kept, so an interrupted run is simply repeated; downloads resume.

  --from DIR  copy from DIR, whose files may be packed (FILE.xz), and download
              nothing; what DIR does not hold is left out. A subset of 20,000
              pairs of SNLI's train split is taken if DIR has one
  -h, --help  show this

Exit status: 0 all is there (with --from: all that DIR holds), 1 something
failed, 2 wrong usage.
END
}

# PATH CHECK ADDRESS of each file; in an archive at ADDRESS it is the member PATH. CHECK is a SHA-256, a
# SHA-1 or, where neither is known, the number of lines. The hash of the raw train split is
# GluonNLP's, whose hashes of the other splits agree with these files. The archives are at the authors'
# own address: the one in the paper answers 403 since 2024. Without an address (-) a file is only copied.
files() {
  local wikitext=https://wikitext.smerity.com snli=https://nlp.stanford.edu/projects/snli
  local gpt2=https://openaipublic.blob.core.windows.net/gpt-2/encodings/main
  cat <<END
wikitext-2/wiki.train.tokens 9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f $wikitext/wikitext-2-v1.zip
wikitext-2/wiki.valid.tokens f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8 $wikitext/wikitext-2-v1.zip
wikitext-2/wiki.test.tokens d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0 $wikitext/wikitext-2-v1.zip
wikitext-2-raw/wiki.train.raw d33faf256327882db0edc7c67cd098d1051a2112 $wikitext/wikitext-2-raw-v1.zip
wikitext-2-raw/wiki.valid.raw 4cd0f6876d07a413aa911261ff6d363c72d757d47f0fdd6015702014c89cb9c7 $wikitext/wikitext-2-raw-v1.zip
wikitext-2-raw/wiki.test.raw 173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08 $wikitext/wikitext-2-raw-v1.zip
snli_1.0/snli_1.0_train.jsonl 550152 $snli/snli_1.0.zip
snli_1.0/snli_1.0_train_subset_20k.jsonl e1724de3497f0972e3287754134f6dbd0af71cbcc4a9e2177c930a1ea92fc5a7 -
snli_1.0/snli_1.0_dev.jsonl 10000 $snli/snli_1.0.zip
snli_1.0/snli_1.0_test.jsonl 10000 $snli/snli_1.0.zip
gpt2/vocab.json 196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783 $gpt2/encoder.json
gpt2/merges.txt 1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5 $gpt2/vocab.bpe
bert-base-uncased/vocab.txt 07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3 https://huggingface.co/bert-base-uncased/resolve/main/vocab.txt
tinyshakespeare/input.txt 86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt
END
}

problem() { printf 'fetch-data.sh: %s\n' "$1" >&2; }

# need PROGRAM: fails naming the package of the same name
need() {
  command -v "$1" >/dev/null && return
  problem "$1 is missing; on Debian or Ubuntu: apt-get install ${2:-$1}"
  return 1
}

# measured FILE CHECK: what CHECK should be
measured() {
  case ${#2} in
    64) sha256sum "$1" ;;
    40) sha1sum "$1" ;;
    *) wc -l <"$1" ;;
  esac | cut -d' ' -f1
}

is_right() { [[ -f $1 && $(measured "$1" "$2") == "$2" ]]; }

# accept PART FILE CHECK: PART, if it is right, becomes FILE; if not, it is deleted
accept() {
  local part=$1 file=$2 check=$3 note=
  if ! is_right "$part" "$check"; then
    problem "what came for $file is damaged or another version: expected $check, got $(measured "$part" "$check")"
    rm -f "$part"
    return 1
  fi
  mv "$part" "$file"
  [[ ${#check} -ge 40 ]] || note=" (known by its $check lines only: no hash is published)"
  echo "got      $file$note"
}

# ---- From a directory --------------------------------------------------------------------------

# copy SOURCE PART: from SOURCE or SOURCE.xz
copy() {
  if [[ -f $1 ]]; then
    cat "$1" >"$2"
  else
    need xz xz-utils && xz -dc "$1.xz" >"$2"
  fi
}

# ---- From the network --------------------------------------------------------------------------

declare -A unreachable=()  # addresses that failed in this run

# download ADDRESS FILE: goes on where an earlier one broke off
download() {
  local address=$1 file=$2 status=0
  [[ ! -f $file ]] || return 0
  [[ ! ${unreachable[$address]:-} ]] || return 1
  echo "download $address"
  if command -v curl >/dev/null; then
    curl --fail --location --silent --show-error --continue-at - --output "$file.part" "$address" ||
      status=$?
  else
    need wget || return
    wget --no-verbose --continue --output-document "$file.part" "$address" || status=$?
  fi
  if [[ $status -eq 0 ]]; then
    mv "$file.part" "$file"
    return
  fi
  # Refused (22, of wget 8) or not to be resumed (33): the next run begins anew.
  case $status in 8 | 22 | 33) rm -f "$file.part" ;; esac
  unreachable[$address]=1
  problem "no $address. Run this again to go on, or get it elsewhere, put it at $file and run this again"
  return 1
}

# fetch ADDRESS PATH CACHE PART
fetch() {
  local archive=$3/${1##*/}
  if [[ $1 != *.zip ]]; then
    download "$1" "$archive" && mv "$archive" "$4"
  else
    need unzip && download "$1" "$archive" && unzip -p "$archive" "$2" >"$4"
  fi
}

# ---- All files ---------------------------------------------------------------------------------

# obtain FROM ADDRESS PATH DEST PART
obtain() {
  if [[ $1 ]]; then
    copy "$1/$3" "$5"
  else
    fetch "$2" "$3" "$4/.downloads" "$5"
  fi
}

# fill FROM DEST: FROM is empty for the network
fill() {
  local from=$1 dest=$2 path check address file present=0 failed=0 all=0
  mkdir -p "$dest/.downloads"
  while read -r path check address; do
    file=$dest/$path
    [[ $from || $address != - ]] || continue
    all=$((all + 1))
    if is_right "$file" "$check"; then
      present=$((present + 1))
    elif [[ $from && ! -f $from/$path && ! -f $from/$path.xz ]]; then
      echo "left out $path: not in $from"
    elif mkdir -p "$(dirname "$file")" && obtain "$from" "$address" "$path" "$dest" "$file.part" &&
      accept "$file.part" "$file" "$check"; then
      present=$((present + 1))
    else
      rm -f "$file.part" "$dest/.downloads/${address##*/}"  # what broke off keeps its .part there
      failed=$((failed + 1))
    fi
  done < <(files)
  echo "$dest holds $present of $all files"
  [[ $failed -eq 0 && $present -gt 0 ]] || return 1
  rm -r "$dest/.downloads"
}

main() {
  local from='' dest=''
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) usage; exit ;;
      --from) from=${2:-}; [[ $from ]] || { usage >&2; exit 2; }; shift ;;
      -*) problem "unknown option $1"; usage >&2; exit 2 ;;
      *) [[ -z $dest ]] || { usage >&2; exit 2; }; dest=$1 ;;
    esac
    shift
  done
  if [[ $from && ! -d $from ]]; then
    problem "$from: no such directory"
    exit 1
  fi
  fill "$from" "${dest:-$(dirname "${BASH_SOURCE[0]}")/../data}"
}

main "$@"
