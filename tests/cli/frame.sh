#!/bin/sh
# The frame of the tool: help, wrong usage, the version, closed and full outputs, man pages and completion.
. "$(dirname "$0")/lib.sh"

expect 0 '^soma [0-9]+\.[0-9]+\.[0-9]+$' - "$soma" --version
expect 0 '"version": "[0-9.]+"' - "$soma" version --json
expect 2 - 'soma COMMAND' "$soma"
expect 0 '^  train ' - "$soma" help
expect 0 '^  train ' - "$soma" --help
for command in train eval predict summary data plot ops layers models info help version; do
    expect 0 '^Examples?$' - "$soma" "$command" --help
    cp out first
    expect 0 '^Usage$' - "$soma" help "$command"
    check "soma help $command and soma $command --help say the same" cmp first out
    expect 2 - "unknown option '--no-such-thing'" "$soma" "$command" --no-such-thing
done
for wide in $(awk 'length > 80' first); do fail "help wider than the terminal: $wide"; done

expect 2 - "'tran' is no soma command; did you mean 'train'\?" "$soma" tran
expect 2 - "did you mean 'train'\?" "$soma" help tran
expect 2 - "unknown option '--jsno'; did you mean '--json'\?" "$soma" info --jsno
expect 2 - "unknown option '--js'; did you mean '--json'\?" "$soma" info --js # beginnings are not taken for the whole
expect 2 - '--threads takes a whole number, not .two.' "$soma" info --threads two
expect 2 - '--threads takes 1 to 1024, not 0' "$soma" info --threads=0
expect 2 - '--threads needs a value' "$soma" info --threads
expect 2 - '--seed takes a whole number from 0 to' "$soma" info --seed=-1
expect 2 - '--json takes no value' "$soma" info --json=yes
expect 2 - "unknown option '-z'" "$soma" info -qz
expect 2 - 'part takes one of train\|test' "$soma" data x --part both
expect 2 - "takes no arguments, but was given '--json'" "$soma" info -- --json
expect 0 '"threads": 1' - "$soma" info --json --threads 1
expect 0 '"threads": 1' - "$soma" info --threads=1 --json
expect 0 '"isa": "sse2"|"isa": "neon"|"isa": "generic"' - env SOMA_ISA=sse2 "$soma" info --json

# A result that cannot be written is an error, and so is one that goes nowhere.
expect 1 - 'cannot write to standard output' sh -c '"$0" ops --json >/dev/full' "$soma"
expect 1 - 'cannot write to standard output' sh -c '"$0" --version >&-' "$soma"
expect 0 - - sh -c '"$0" --version >/dev/null <&-' "$soma"

expect 0 'differentiable  yes' - "$soma" ops relu
expect 0 '^  relu +∂' - "$soma" ops
expect 1 - "no operator 'rellu'; did you mean 'relu'\?" "$soma" ops rellu
expect 1 - "no operator 'ReLU6x'; did you mean 'relu6'\?" "$soma" ops ReLU6x
expect 1 - "no operator 'max_pool'; there are max_pool1d, max_pool1d_with_indices, max_pool2d" "$soma" ops max_pool
expect 0 '^conv: convolutions' - "$soma" ops conv
check 'one line an operator, no wider than the terminal' sh -c '"$1" ops | grep -v "^ *[a-z0-9_]\{23\}" | LC_ALL=C tr -d "\200-\277" | LC_ALL=C awk "length > 80 { bad = 1; print } END { exit bad }"' sh "$soma"
expect 0 '^conv CHANNELS WINDOW' - "$soma" layers conv
expect 0 '"word": "batchnorm"' - "$soma" layers --json
expect 1 - "no layer 'batchnrm'; did you mean 'batchnorm'\?" "$soma" layers batchnrm
expect 0 '^resnet18 \[classes NUMBER\] \[cifar\]' - "$soma" models
expect 1 - "no model 'resnet81'; did you mean" "$soma" models resnet81
expect 0 'parameters   11,689,512, all trainable' - "$soma" summary --net resnet18 --input 3x224x224
expect 0 '"differentiable": true' - "$soma" ops --json
check "the operators' JSON is read back" sh -c 'command -v python3 >/dev/null || exit 0; python3 -m json.tool out'

expect 0 - - "$soma" docs man man
[ -s man/soma-train.1 ] && [ -s man/soma.1 ] || fail "man pages are missing: $(ls man)"
for page in man/*.1; do
    check "$page has no wrong roff" sh -c 'command -v groff >/dev/null || exit 0; w=$(groff -man -ww -z "$0" 2>&1); [ -z "$w" ] || { echo "$w"; exit 1; }' "$page"
done
for shell in bash zsh fish; do
    expect 0 'epochs' - "$soma" docs completion "$shell"
    ! command -v "$shell" >/dev/null || check "$shell reads its completion" "$shell" -n out
done
complete() { # words typed so far: what bash offers for the last one
    "$soma" docs completion bash >soma.bash
    bash -c '. ./soma.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _soma; echo "${COMPREPLY[@]}"' - "$@"
}
if command -v bash >/dev/null; then
    expect 0 '^train$' - complete soma tra
    expect 0 '^--epochs$' - complete soma train --epo
    expect 0 '^adam adamw adagrad adadelta adamax$' - complete soma train --optim ad
fi
done_testing
