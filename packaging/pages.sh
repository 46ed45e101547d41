#!/bin/sh
# Writes what the Debian package has beside the binary: manual pages and completions, as that binary prints them.
#
#   cargo build --release && packaging/pages.sh target/release/ternmq && cargo deb --no-build
set -e
ternmq=${1:?the binary}
dir=$(dirname "$0")/../target/pages
rm -rf "$dir"
mkdir -p "$dir"
"$ternmq" man --dir "$dir/man"
"$ternmq" completions bash >"$dir/ternmq"
"$ternmq" completions zsh >"$dir/_ternmq"
"$ternmq" completions fish >"$dir/ternmq.fish"
