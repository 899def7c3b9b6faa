#!/bin/sh
# soma train from end to end: a run folder with all that belongs there, the same bits for any number of threads and after a stop,
# resume, --force, JSON, tables, and predictions that need nothing but the model file.
[ -w /dev/shm ] && export TMPDIR=/dev/shm # every file is synced, and disks are slow
. "$(dirname "$0")/lib.sh"

net="flatten, linear 24 relu, dropout 0.2, linear 10"
small="--data drawn:120 --net '$net' --epochs 3 --batch 16 --seed 5"
train() { eval "\"\$soma\" train $small $*"; }
same() { cmp "$1/model.safetensors" "$2/model.safetensors"; }
steps() { sed 's/,"seconds":[^,}]*//; s/,"samples_per_second":[^,}]*//' "$1/metrics.jsonl"; }

# A run and what it leaves.
expect 0 '^model +a/model.safetensors' 'epoch 3/3 .*val loss' train --out a
for file in config.json metrics.jsonl model.safetensors checkpoint-000000021.safetensors; do
    [ -s "a/$file" ] || fail "a/$file is missing: $(ls a)"
done
[ "$(ls a | grep -c '^checkpoint-')" = 2 ] || fail "not two checkpoints: $(ls a)"
[ "$(grep -c '"kind":"epoch"' a/metrics.jsonl)" = 3 ] || fail "not three epochs in metrics.jsonl"

# Threads change no bit.
for threads in 1 2 3 7; do
    expect 0 '' - train --out "t$threads" --threads $threads --quiet
    check "$threads threads give the same model" same a "t$threads"
done

# Other seeds do.
expect 0 '' '' train --out other --seed 6
if same a other >/dev/null 2>&1; then fail "seeds 5 and 6 give the same model"; fi

# Stopped by a signal and resumed: the same model and the same history.
eval "exec \"\$soma\" train $small --epochs 400 --out long --quiet" >log 2>&1 &
pid=$!
tries=0
while [ ! -s long/metrics.jsonl ] && [ $tries -lt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
kill -INT $pid
wait $pid
[ $? = 1 ] || fail "a stopped training must end with 1: $(cat log)"
grep -q 'soma train --resume long' log || fail "no word on how to resume: $(cat log)"
checks=$((checks + 2))
done_before=$(grep -c '"kind":"epoch"' long/metrics.jsonl)
goal=$((done_before + 2))
expect 0 '' '' "$soma" train --resume long --epochs $goal
expect 0 '' '' train --out straight --epochs $goal
check "stop and resume give the same model" same long straight
steps long >x; steps straight >y
check "stop and resume give the same history" cmp x y
expect 0 '' 'are done' "$soma" train --resume long --epochs $goal
expect 2 - '--lr cannot be changed' "$soma" train --resume long --lr 1
expect 2 - 'leave out --out' "$soma" train --resume long --out b
expect 1 - 'no such run' "$soma" train --resume nowhere
mkdir empty
expect 1 - 'not the folder of a run' "$soma" train --resume empty

# An existing run is safe without --force.
cp a/model.safetensors kept
expect 1 - 'a holds a run already' train --out a
expect 1 - 'must be|ends in 7 outputs.*linear 10' "$soma" train --data drawn:50 --net "flatten, linear 7" --out a --force
check "nothing was written over" cmp kept a/model.safetensors
expect 0 '' '' train --out a --force --epochs 1
[ "$(grep -c '"kind":"epoch"' a/metrics.jsonl)" = 1 ] || fail "--force left old lines"

# A name is found without --out, and never the same twice.
expect 0 'runs/drawn-120-1' '' train --epochs 1
expect 0 'runs/drawn-120-2' '' train --epochs 1

# JSON, alone on stdout; piped progress has no carriage returns.
expect 0 '"status": "done"' 'epoch 1/2' train --out j --epochs 2 --json
check "the JSON is read back" sh -c 'command -v python3 >/dev/null || exit 0; python3 -m json.tool out >/dev/null'
grep -q "$(printf '\r')" err && fail "carriage returns in piped progress"
expect 0 '"epochs": \[' - train --out q --epochs 1 --json --quiet

# Early stopping, every schedule and optimiser, the transforms.
expect 0 'stopped early' '' "$soma" train --data drawn:60 --net "flatten, linear 10" --epochs 50 --patience 1 --lr 1e-12 --out early
for options in "--optim sgd --lr 0.05 --momentum 0.9 --nesterov --schedule step --step-every 1" \
    "--optim adamw --weight-decay 0.1 --schedule cosine --warmup 3 --clip 1" "--schedule onecycle --init kaiming --loss mse" \
    "--flip --shift 2 --erase 0.3 --no-normalise --loss bce_with_logits" "--crop 2 --val 0"; do
    expect 0 '^model' '' train --out options --force --epochs 2 "$options"
done

# Descent, regularisation and losses by options.
for options in "--batch all" "--batch 1 --epochs 1" "--batch 8 --accumulate 3 --clip-value 0.1" "--l1 1e-4 --l2 1e-3 --max-norm 2" \
    "--mixup 0.3 --cutout 5 --label-smoothing 0.1" "--grad-noise 0.1 --activity-l1 1e-4 --prox-l2 0.1" "--loss 'focal gamma=1.5'" "--loss multi_margin"; do
    expect 0 '^model' '' train --out options --force --epochs 2 "$options"
done
expect 0 '^model' '' "$soma" train --data drawn:60 --net "flatten, linear 8 sigmoid, linear 10" --activity-kl 0.1:0.01 --epochs 1 --out kl
expect 0 '' '' train --out small --batch 4 --accumulate 4 --net "'flatten, linear 10'"
expect 0 '' '' train --out large --batch 16 --net "'flatten, linear 10'"
losses() { sed -n 's/.*"train_loss":\([0-9]*\.[0-9][0-9][0-9][0-9]\).*/\1/p' "$1/metrics.jsonl"; }
losses small >x; losses large >y
check "accumulated batches train as large ones" cmp x y
expect 0 '' '' train --out parts --batch 8 --accumulate 3 --mixup 0.3 --grad-noise 0.1 --epochs 1
expect 0 '' '' "$soma" train --resume parts --epochs 3
expect 0 '' '' train --out whole --batch 8 --accumulate 3 --mixup 0.3 --grad-noise 0.1
check "they resume in the same bits" same parts whole
expect 0 'zeros +[1-9].*parameters are exactly 0' '' sh -c '"$0" train --data drawn:120 --net "flatten, linear 10" --prox-l1 0.5 --out lasso --quiet >&2; "$0" summary lasso' "$soma"
expect 0 '"sparsity": 0\.[0-9]*[1-9]' '' "$soma" summary lasso --json
expect 0 'huber .*outliers' '' "$soma" train --loss list
expect 0 '"operator": "kl_div"' '' "$soma" train --loss list --json
expect 0 '^loss' '' "$soma" eval options --data drawn:60

# NaN: where it appeared first, and the run can still be opened.
expect 1 - 'NaN or Inf first appeared in .*lower learning rate' train --out nan --optim sgd --lr 1e9

# A table: regression, then classification, with the model's own scaling and target.
awk 'BEGIN { srand(3); print "id,a,b,price"; for (i = 1; i <= 200; i++) { a = rand(); b = 1000 * rand(); printf "h%d,%.6f,%.4f,%.6f\n", i, a, b, 3 * a - b / 500 + 1 } }' >houses.csv
expect 0 'R² (0\.9|1\.0)' '' "$soma" train --data houses.csv --target price --net "linear 1" --epochs 60 --lr 0.05 --out houses
expect 0 '^R² +(0\.9|1\.0)' '' "$soma" eval houses --data houses.csv
cut -d, -f1-3 houses.csv >ask.csv
expect 0 '' '' "$soma" predict houses ask.csv --csv told.csv
[ "$(head -1 told.csv)" = id,price ] || fail "the header of the predictions is $(head -1 told.csv)"
[ "$(wc -l <told.csv)" = 201 ] && [ "$(sed -n '2p' told.csv | cut -d, -f1)" = h1 ] || fail "the predictions: $(head -3 told.csv)"
# Predictions against the formula they were made from: the mean error must be small against the spread of 1.
check "predictions follow the formula" sh -c "paste -d, houses.csv told.csv | awk -F, 'NR > 1 { d = \$4 - \$6; s += d < 0 ? -d : d } END { exit !(s / 200 < 0.1) }'"
awk -F, 'BEGIN { OFS = "," } { print $1, $3, $2 }' ask.csv >swapped.csv
expect 1 - "feature 1 is 'b', but .* was trained with 'a'" "$soma" predict houses swapped.csv
awk -F, 'NR == 1 { print "a,b,kind" } NR > 1 { print $2 "," $3 "," ($4 > 1 ? "dear" : "cheap") }' houses.csv >kinds.csv
expect 0 'accuracy (9|100)' '' "$soma" train --data kinds.csv --net "linear 16 relu, linear 2" --epochs 60 --lr 0.02 --out kinds
expect 0 '^(dear|cheap|macro)' '' "$soma" eval kinds/model.safetensors --data kinds.csv
expect 0 '"label": "(dear|cheap)"' '' "$soma" predict kinds ask.csv --json
done_testing
