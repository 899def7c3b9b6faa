#!/bin/sh
# kill -9 at 100 random moments of a training that writes a checkpoint every other step: there is always one that loads, and the run
# that went through all of it ends in the same bits as one that was never killed.
[ -w /dev/shm ] && export TMPDIR=/dev/shm # every file is synced, and disks are slow
. "$(dirname "$0")/lib.sh"
options="--data drawn:80 --net 'flatten, linear 16 relu, dropout 0.1, linear 10' --batch 8 --seed 3 --threads 1 --workers 0"
train() { eval "\"\$soma\" train $options $*"; }

kills=${SOMA_KILLS:-100}
eval "exec \"\$soma\" train $options --epochs 100000 --checkpoint-every 2 --out run --quiet" >log 2>&1 &
pid=$!
while [ ! -e run/config.json ] || ! ls run | grep -q '^checkpoint-'; do
    kill -0 $pid 2>/dev/null || fail "the training ended by itself"
    sleep 0.01
done
i=0
while [ $i -lt "$kills" ]; do
    # 0 to 99 ms after the start of this round
    pause=$(awk -v seed="$i" 'BEGIN { srand(seed * 7919 + 1); printf "%.3f", rand() * 0.1 }')
    sleep "$pause"
    kill -9 $pid 2>/dev/null || fail "kill $i: the training had ended by itself"
    wait $pid 2>/dev/null
    i=$((i + 1))
    # Resuming reads the newest whole checkpoint; it must find one, whatever the moment was.
    "$soma" train --resume run --epochs 100000 --quiet >log 2>&1 &
    pid=$!
    if [ $((i % 10)) = 0 ]; then
        kill -9 $pid
        wait $pid 2>/dev/null
        expect 1 '' 'stopped' timeout --preserve-status -s INT 0.4 "$soma" train --resume run
        "$soma" train --resume run --quiet >log 2>&1 &
        pid=$!
    fi
    [ ! -s log ] || fail "after kill $i: $(cat log)"
done
kill -9 $pid
wait $pid 2>/dev/null
[ ! -s log ] || fail "the last one: $(cat log)"
[ "$(ls -A run | grep -c '^checkpoint-')" -le 3 ] || fail "too many checkpoints: $(ls -A run)"

# To the end of the epoch under way, and once more without any kill.
epochs=$(grep -c '"kind":"epoch"' run/metrics.jsonl)
epochs=$((epochs + 1))
expect 0 '' '' "$soma" train --resume run --epochs $epochs
expect 0 '' '' train --epochs $epochs --checkpoint-every 1000000 --out straight
last() { ls "$1"/checkpoint-* | tail -1; }
check "killed $kills times, the same bits" cmp run/model.safetensors straight/model.safetensors
sed 's/,"seconds":[^,}]*//; s/,"samples_per_second":[^,}]*//' run/metrics.jsonl >x
sed 's/,"seconds":[^,}]*//; s/,"samples_per_second":[^,}]*//' straight/metrics.jsonl >y
check "and the same history" cmp x y
ls -A run | grep -q '\.tmp$' && fail "temporary files are left: $(ls -A run)"
printf "killed %s times on the way to epoch %s\n" "$kills" "$epochs"
done_testing
