#!/bin/sh
# soma check and soma doctor: findings before and after a training, their exit codes, silenced and tuned rules, JSON, and that the doctor
# changes no bit of a model.
[ -w /dev/shm ] && export TMPDIR=/dev/shm
. "$(dirname "$0")/lib.sh"

good="flatten, linear 24 relu, linear 10"
drawn="--data drawn:300 --seed 3 --batch 16"

expect 0 '^all well: [0-9]+ rules applied, nothing found' 'drawn silhouettes' "$soma" check $drawn --net "$good"
expect 1 '^error: .*\[softmax-before-loss\]' '' "$soma" check $drawn --net "$good, softmax"
expect 1 'seen +3 \(Softmax\): ' '' "$soma" check $drawn --net "flatten, linear 24, linear 10, softmax" --fast
expect 0 '^warning: .*\[linear-without-activation\]' '' "$soma" check $drawn --net "flatten, linear 24, linear 10" --fast
expect 0 'all well' '' "$soma" check $drawn --net "flatten, linear 24, linear 10" --silence linear-without-activation
expect 2 - "no rule 'linear-without-activity'; did you mean 'linear-without-activation'" "$soma" check $drawn --net "$good" --silence linear-without-activity
expect 2 - '--tune takes RULE=THRESHOLD' "$soma" check $drawn --net "$good" --tune class-imbalance
expect 1 '"rule": "relu-on-output"' '' "$soma" check $drawn --net "$good relu" --json
expect 2 - 'resume goes on with a run' "$soma" check --resume a

# In a training: a line when all is well, findings when not, and the same again from the records.
expect 0 '' 'check: [0-9]+ rules, all well' "$soma" train $drawn --net "$good" --epochs 2 --out a
expect 0 '' '- *' "$soma" train $drawn --net "$good" --epochs 2 --out b --no-doctor
[ ! -e b/doctor.jsonl ] || fail "--no-doctor wrote doctor.jsonl"
check "the doctor changes no bit" cmp a/model.safetensors b/model.safetensors
expect 1 - 'no doctor.jsonl' "$soma" doctor b
expect 0 '^all well' '' "$soma" doctor a --silence waiting-for-data
expect 0 'doctor +[0-9]+ findings?: soma doctor c' 'step [0-9]+: warning: .*\[clipping-always\]' \
    "$soma" train $drawn --net "$good" --epochs 20 --out c --optim sgd --lr 0.1 --clip 1e-5
expect 0 '\[clipping-always\]' '' "$soma" doctor c
expect 0 '"rule": "clipping-always"' '' "$soma" doctor c --json
expect 0 'all well' '' "$soma" doctor c --silence clipping-always,loss-flat,learning-rate-too-low,waiting-for-data,underfitting
expect 0 '' 'error: .*softmax-before-loss' "$soma" train $drawn --net "$good, softmax" --epochs 1 --out d
expect 0 'softmax-before-loss' '' "$soma" doctor d

# The rules.
expect 0 '^dead-units +warning ' '' "$soma" doctor --rules
expect 0 '"threshold": 0.5' '' "$soma" doctor --rules --json
expect 2 - 'which run' "$soma" doctor
expect 1 - 'no doctor.jsonl' "$soma" doctor nowhere
printf 'nonsense\n' >a/doctor.jsonl
expect 1 - 'a/doctor.jsonl, line 1' "$soma" doctor a

done_testing
