#!/bin/sh
# soma train with every optimiser, schedule and initialisation that the library has, their options, averages of weights; each run stopped and
# resumed ends in the same bits.
. "$(dirname "$0")/lib.sh"

train() { "$soma" train --data drawn:120 --net "conv 3 3 relu, batchnorm, flatten, linear 10" --batch 30 --quiet --force "$@"; }

expect 0 '^rmsprop: ' - "$soma" train --optim list
optims=$(grep -oE '^[a-z]+:' out | tr -d :)
expect 0 '^cosine: ' - "$soma" train --schedule list
schedules=$(grep -oE '^[a-z_]+:' out | tr -d :)
expect 0 '^orthogonal: ' - "$soma" train --init list
inits=$(grep -oE '^[a-z_]+:' out | tr -d :)
[ "$(echo "$optims" | wc -w)" -ge 15 ] && [ "$(echo "$schedules" | wc -w)" -ge 13 ] && [ "$(echo "$inits" | wc -w)" -ge 16 ] || fail "the lists are short"

for name in $optims; do expect 0 '^model' '' train --out o --epochs 1 --optim "$name"; done
for name in $schedules; do expect 0 '^model' '' train --out s --epochs 2 --schedule "$name" --warmup 1; done
for name in $inits; do expect 0 '^model' '' train --out i --epochs 1 --init "$name"; done
expect 0 '^model' '' train --out o --epochs 1 --optim "lbfgs strong_wolfe max_iter=3" --batch all

# Options: in the text, checked before anything happens; those with dashes are the same.
expect 0 '' '' train --out a --epochs 2 --optim "rmsprop momentum=0.5 centered" --schedule "multi_step milestones=1:2 gamma=0.5"
grep -q '"lr":0.005' a/metrics.jsonl || fail "multi_step did not halve rmsprop's 0.01 after an epoch: $(cat a/metrics.jsonl)"
expect 0 '' '' train --out b --epochs 2 --optim "rmsprop centered" --momentum 0.5 --schedule "multi_step milestones=1:2" --gamma 0.5
check "--momentum is the option momentum" cmp a/model.safetensors b/model.safetensors
expect 2 - "adam has no option 'beta'; did you mean 'beta1'" train --out c --optim "adam beta=0.5"
expect 2 - "beta1 is 'x', expected a number" train --out c --optim "adam beta1=x"
expect 2 - "adam: beta1 must be from 0 to below 1, not 2" train --out c --optim "adam beta1=2"
expect 2 - "--precision takes one of f32|bf16, not 'f16'" train --out c --precision f16
expect 2 - "unknown schedule 'cosin'; did you mean 'cosine'" train --out c --schedule cosin
expect 2 - "the modes triangular" train --out c --schedule "cyclic mode=square"
expect 2 - "no initialisation 'xaver'; did you mean 'xavier'" train --out c --init xaver
expect 2 - "rprop has no option 'weight_decay'" train --out c --optim rprop --weight-decay 1
[ -e c ] && fail "a mistake made a run folder"

expect 2 - "--precision cannot be changed with --resume" "$soma" train --resume a --precision bf16
sed 's/"precision": "f32"/"precision": "f8"/' a/config.json >config && mv config a/config.json
expect 1 - "settings.precision is f8, expected f32 or bf16" "$soma" train --resume a --epochs 3

# The same bits with a stop in between: state of the optimiser, the plateau, the averages.
for options in "--precision bf16" "--optim nadam --ema 0.9" "--optim asgd --swa 2" "--optim adadelta --ema 0.9 --swa 3"; do
    # shellcheck disable=SC2086
    expect 0 '' '' train --out whole --epochs 4 $options --schedule "plateau patience=0 factor=0.5 threshold=0.3"
    # shellcheck disable=SC2086
    expect 0 '' '' train --out parts --epochs 2 $options --schedule "plateau patience=0 factor=0.5 threshold=0.3"
    expect 0 '' '' "$soma" train --resume parts --epochs 4 --quiet
    check "$options: the resumed run has the same model" cmp whole/model.safetensors parts/model.safetensors
    for file in whole parts; do sed 's/"seconds".*//; s/"samples_per_second".*//' $file/metrics.jsonl >$file.lines; done
    check "$options: and the same history" cmp whole.lines parts.lines
done
done_testing
