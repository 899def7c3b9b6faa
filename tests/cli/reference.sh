#!/bin/sh
# Reference pages: every operator for users, layer, optimiser and schedule has one that says something, and the index leads to it.
. "$(dirname "$0")/lib.sh"

expect 0 '' - "$soma" docs reference ref "$here/../../include/soma"
"$soma" ops --json >ops.json
expect 0 '"name"' '' cat ops.json

# name, family, doc and whether it is internal, one a line
sed -n 's/^ *"name": "\(.*\)",*$/\1/p' ops.json >all-names
[ -s all-names ] || tr ',' '\n' <ops.json | sed -n 's/.*{"name": *"\([^"]*\)".*/\1/p' >all-names
[ "$(wc -l <all-names)" -ge 150 ] || fail "soma ops --json names $(wc -l <all-names) operators"
grep -q '"doc": *""' ops.json && fail "an operator has an empty doc"

pages=0
for page in ref/op_*.md; do
    name=$(sed -n '1s/^# \(.*\) {#.*/\1/p' "$page")
    words=$(sed -n '5p' "$page" | wc -w)
    [ "$words" -ge 1 ] || fail "$page says nothing of the operator"
    grep -q "op_$name.md" ref/operators.md || fail "the index lacks $name"
    expect 0 "^$name\\(" - "$soma" ops "$name"
    pages=$((pages + 1))
done
listed=$("$soma" ops | sed -n 's/^\([0-9]*\) operators;.*/\1/p')
[ "$pages" = "$listed" ] || fail "$pages pages of $listed operators"

for kind in layer optimiser schedule; do
    n=0
    for page in ref/"$kind"_*.md; do
        grep -q "$(basename "$page")" "ref/${kind}s.md" || fail "the index of ${kind}s lacks $page"
        grep -q '|' "$page" || fail "$page has no table"
        n=$((n + 1))
    done
    [ "$n" -ge 5 ] || fail "only $n pages of a $kind"
done
grep -q 'soma_relu(soma_tensor' ref/op_relu.md || fail "the page of relu lacks its declaration"
expect 2 - 'expected' "$soma" docs reference
done_testing
