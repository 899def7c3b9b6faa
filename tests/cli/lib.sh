# Helpers for the tests of the tool; read by the others: . "$(dirname "$0")/lib.sh". $1 is the tool.
# Each check counts; the first one that fails ends the test with what was expected and what came.
set -u
soma=$1
case $soma in /*) ;; *) soma=$PWD/$soma ;; esac
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
checks=0
export COLUMNS=80 NO_COLOR=1

# The data folder, or nothing: tests on real data are skipped without it.
shared=${SOMA_SHARED:-$here/../../../shared}
[ -d "$shared/data" ] && shared=$(cd "$shared" && pwd) || shared=

fail() {
    printf 'FAILED: %s\n' "$*"
    exit 1
}

# expect CODE OUT ERR command…: the exit code, and extended regular expressions that stdout and stderr must contain ('' anything,
# '-' nothing at all).
expect() {
    code=$1 out=$2 err=$3
    shift 3
    "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    checks=$((checks + 1))
    [ "$got" = "$code" ] || fail "'$*': exit code $got instead of $code; it said: $(head -c 600 "$work/out") $(head -c 600 "$work/err")"
    said "$out" "$work/out" "stdout of '$*'"
    said "$err" "$work/err" "stderr of '$*'"
}

said() { # pattern, file, what
    case $1 in
    '') ;;
    -) [ ! -s "$2" ] || fail "$3 should be empty, but is: $(head -c 600 "$2")" ;;
    *) grep -qE -e "$1" "$2" || fail "$3 does not have /$1/, but: $(head -c 600 "$2")" ;;
    esac
}

check() { # what, command…: the command must succeed
    what=$1
    shift
    checks=$((checks + 1))
    "$@" >"$work/check" 2>&1 || fail "$what: $(head -c 600 "$work/check")"
}

done_testing() { printf '%d checks passed\n' "$checks"; }
