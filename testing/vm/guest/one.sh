#!/bin/sh
# Becomes one test binary, as whoever called it: with its environment, and in the directory of its package.
. /run/vm/env
cd "$1" || exit 125
shift
. /run/vm/args # calls "$@" with the flags
