#!/bin/sh
# soma plot on runs whose numbers are known: what is in the scripts, the pictures, and what is said when something is missing.
. "$(dirname "$0")/lib.sh"

run() { # folder: three epochs
    mkdir -p "$1"
    cat >"$1/metrics.jsonl" <<'JSON'
{"kind":"step","epoch":1,"step":50,"loss":0.9}
{"kind":"epoch","epoch":1,"step":100,"train_loss":0.8,"train_accuracy":0.7,"val_loss":0.75,"val_accuracy":0.72,"lr":0.001,"best":true,"seconds":1}
{"kind":"epoch","epoch":2,"step":200,"train_loss":0.6,"train_accuracy":0.8,"val_loss":0.65,"val_accuracy":0.78,"lr":0.001,"best":true,"seconds":1}
{"kind":"epoch","epoch":3,"step":300,"train_loss":0.5,"train_accuracy":0.85,"val_loss":null,"val_accuracy":0.765,"lr":0.001,"best":false,"seconds":1}
JSON
    printf '{"title":"test","classes":["a","b"],"counts":[[8,2],[1,9]]}' >"$1/confusion.json"
}
run runs/a
run runs/b
expect 2 - 'which run' "$soma" plot
expect 1 - 'no such run folder' "$soma" plot runs/c
mkdir empty
expect 1 - 'holds no metrics.jsonl' "$soma" plot empty
run torn
echo 'not json' >>torn/metrics.jsonl
expect 1 - 'line 5: not a JSON object' "$soma" plot torn
run early
echo '{"kind":"step","epoch":1,"step":50,"loss":0.9}' >early/metrics.jsonl
expect 1 - 'no epoch has ended' "$soma" plot early

# Without gnuplot: a clear message, and the script is there to be drawn elsewhere.
expect 1 - 'apt-get install gnuplot-nox.*curves.gp is written' env SOMA_GNUPLOT= "$soma" plot runs/a
grep -q '^2 0.6 0.65 80 78$' runs/a/curves.gp || fail "the script lacks epoch 2: $(cat runs/a/curves.gp)"
grep -q '^3 0.5 nan 85 76.5$' runs/a/curves.gp || fail "the script lacks epoch 3: $(cat runs/a/curves.gp)"
grep -q 'best validation accuracy 78.0 %, epoch 2' runs/a/curves.gp || fail "the title does not say which epoch was best"
# Activations: what is written is what soma computes, derivatives by backward.
expect 2 - 'which activation' "$soma" plot activation
expect 2 - 'expected LOW:HIGH' "$soma" plot activation relu --range 3
expect 2 - 'expected LOW:HIGH' "$soma" plot activation relu --range 3:-3
expect 1 - "no activation 'gelo'; did you mean 'gelu'" "$soma" plot activation gelo
expect 1 - 'glu is not a function of one number' "$soma" plot activation relu glu
expect 1 - "leaky_relu has no attribute 'slope'" "$soma" plot activation leaky_relu:slope=0.1
expect 1 - "negative_slope is 'x', expected a number" "$soma" plot activation leaky_relu:negative_slope=x
expect 1 - "expected one of none|tanh" "$soma" plot activation gelu:approximate=erf
expect 1 - 'activation.gp is written' env SOMA_GNUPLOT= "$soma" plot activation leaky_relu:negative_slope=0.1 sigmoid step:surrogate=triangle --range -2:2
grep -q '^-2 -0.2$' activation.gp && grep -q '^-2 0.1$' activation.gp || fail "leaky_relu with slope 0.1 is wrong in the script"
grep -q '^0 0.25$' activation.gp && grep -q '^0 0.5$' activation.gp || fail "sigmoid at 0 is wrong in the script"
grep -q "'step, surrogate triangle'" activation.gp || fail "the script lacks the title of step"

if ! command -v gnuplot >/dev/null; then
    echo "gnuplot is not here: pictures are not checked"
    done_testing
    exit 77
fi
expect 0 'curves +runs/a/curves.svg' - "$soma" plot runs/a
for file in curves confusion; do
    [ "$(head -c 4 runs/a/$file.png | tail -c 3)" = PNG ] || fail "$file.png is no PNG"
    grep -q '<svg' runs/a/$file.svg || fail "$file.svg is no SVG"
done
grep -q 'validation' runs/a/curves.svg || fail "the picture has no legend"
grep -q '17 of 20 right, 85.0 %' runs/a/confusion.svg || fail "the confusion matrix has no title"
expect 0 'Accuracy, %' - "$soma" plot runs/a runs/b -o both --text
[ -s both.svg ] && [ -s both.png ] || fail "two runs gave no picture"
expect 0 '' - gnuplot both.gp # as a user would, after a change

expect 0 'activation  +both-acts.svg' - "$soma" plot activation tanh prelu -o both-acts.png
[ "$(head -c 4 both-acts.png | tail -c 3)" = PNG ] && grep -q 'prelu' both-acts.svg || fail "two activations gave no picture"
expect 0 "f'.x." - "$soma" plot activation mish --text
expect 0 '' - "$soma" plot activation all -o all

# A resumed run has some epochs twice: the later line counts.
echo '{"kind":"epoch","epoch":3,"step":300,"train_loss":0.4,"train_accuracy":0.9,"val_loss":0.5,"val_accuracy":0.8}' >>runs/b/metrics.jsonl
expect 0 '' - "$soma" plot runs/b
[ "$(grep -c '^3 ' runs/b/curves.gp)" = 1 ] && grep -q '^3 0.4 0.5 90 80$' runs/b/curves.gp || fail "epoch 3 should be there once"
run bad
printf '{"title":"t","classes":["a","b"],"counts":[[8,2],[1]]}' >bad/confusion.json
expect 1 '' '2 rows of 2 counts' "$soma" plot bad
done_testing
