#!/bin/sh
# Everything that needs a GPU, in 8 minutes: sh benchmarks/gpu/run.sh --out DIR [--wheels DIR] [--tiny]; see --help.
exec "${PYTHON:-python3}" "$(dirname "$0")/run.py" "$@"
