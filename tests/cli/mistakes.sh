#!/bin/sh
# What users get wrong: one clear line on stderr that names the file, line or field, exit code 1 or 2, and nothing is left or damaged.
[ -w /dev/shm ] && export TMPDIR=/dev/shm # every file is synced, and disks are slow
. "$(dirname "$0")/lib.sh"
net="flatten, linear 10"
expect_line() { # as expect, and stderr is one line
    expect "$@"
    [ "$(wc -l <err)" = 1 ] || fail "more than one line on stderr: $(cat err)"
}

expect 2 - '--data is missing' "$soma" train
expect 2 - '--net is missing' "$soma" train --data drawn
expect 2 - "what is 'drawn'" "$soma" train drawn --net "$net"
expect 2 - '--lr is 0' "$soma" train --data drawn --net "$net" --lr 0
expect 2 - '--epochs is 0; it must be at least 1' "$soma" train --data drawn --net "$net" --epochs 0
expect 2 - '--val is 1; it must be from 0 to 0.9' "$soma" train --data drawn --net "$net" --val 1
expect 2 - '--size takes height x width' "$soma" train --data drawn --net "$net" --size 28x
expect 2 - "unknown optimiser 'adm'; did you mean 'adam'" "$soma" train --data drawn --net "$net" --optim adm
expect 2 - '--momentum is for' "$soma" train --data drawn --net "$net" --momentum 0.9
expect 2 - '--batch takes the number of samples in a step, or all' "$soma" train --data drawn --net "$net" --batch 0
expect 2 - 'no loss is called "mes": did you mean "mse"' "$soma" train --data drawn --net "$net" --loss mes
expect 2 - '"tau=1" is not an option; huber has delta' "$soma" train --data drawn --net "$net" --loss "huber tau=1"
expect 2 - 'huber_loss: delta is -1, expected a number above 0' "$soma" train --data drawn --net "$net" --loss "huber delta=-1"
expect 2 - "unknown optimiser 'foo'; there are sgd, adam" "$soma" train --data drawn --net "$net" --optim foo
expect 2 - "rmsprop: alpha is 'x', expected a number, such as alpha=0.99" "$soma" train --data drawn --net "$net" --optim "rmsprop alpha=x"
expect 2 - '--gamma goes with --schedule step' "$soma" train --data drawn --net "$net" --gamma 0.5
expect 1 - 'cutout 28 leaves nothing of images of 28 x 28' "$soma" train --data drawn:50 --net "$net" --cutout 28
expect 1 - "expected log-probabilities.*logsoftmax" "$soma" train --data drawn:50 --net "$net" --loss nll --out raw
[ ! -e raw ] || fail "a run that never began left a folder behind: $(ls raw)"
expect 0 '' 'ends in Softmax, and the loss cross_entropy takes raw scores' "$soma" train --data drawn:50 --net "$net, softmax" --epochs 1 --out twice
expect_line 1 - "unknown layer 'zoo' at column 10 .'soma layers'" "$soma" train --data drawn:50 --net "flatten, zoo 10"
expect_line 1 - "transformer needs 'heads'" "$soma" summary --net "transformer 64" --input 5x64
expect_line 1 - '30 features cannot be divided among 4 heads$' "$soma" summary --net "gpt 9 features 30" --input 5
expect 2 - '--activity-kl takes an activity between 0 and 1 and a weight' "$soma" train --data drawn --net "$net" --activity-kl 3
expect 2 - '--l1 is -1; it must be at least 0' "$soma" train --data drawn --net "$net" --l1 -1
expect 1 - 'poisson_nll is for numbers, but the data has classes' "$soma" train --data drawn:50 --net "$net" --loss poisson_nll
expect 1 - '--label-smoothing goes with --loss cross_entropy, not with mse' "$soma" train --data drawn:50 --net "$net" --loss mse --label-smoothing 0.1
expect 2 - 'needs a --momentum' "$soma" train --data drawn --net "$net" --optim sgd --nesterov
expect_line 1 - 'nowhere' "$soma" train --data nowhere --net "$net"
expect_line 1 - "unknown layer 'lnear'.*did you mean 'linear'" "$soma" train --data drawn:50 --net "flatten, lnear 10"
expect_line 1 - 'ends in 7 outputs, but the data has 10 classes: let it end in "linear 10"' "$soma" train --data drawn:50 --net "flatten, linear 7"
expect_line 1 - 'flatten, linear 10' "$soma" train --data drawn:50 --net "conv 10 3"
expect_line 1 - 'Conv2d.*28' "$soma" train --data drawn:50 --net "conv 3 40, $net"
printf 'a,b,kind\n1,2,x\n3,4,y\n5,6,x\n' >kinds.csv
expect 1 - 'no parameters' "$soma" train --data kinds.csv --net relu --val 0
[ ! -e runs ] || fail "a mistake left a folder behind: $(ls -R runs)"

# Tables.
printf 'a,b,y\n1,2,3\n4,5\n' >ragged.csv
expect_line 1 - 'ragged.csv.*3' "$soma" train --data ragged.csv --net "linear 1"
printf 'a,b,y\n1,2,3.5\n4,x,6.5\n' >text.csv
expect_line 1 - 'text.csv:3: column 2' "$soma" train --data text.csv --net "linear 1" --task regress
expect_line 1 - "no column 'z'" "$soma" train --data text.csv --net "linear 1" --target z
: >empty.csv
expect_line 1 - 'empty.csv' "$soma" train --data empty.csv --net "linear 1"
printf 'a,b,y\n' >head.csv
expect_line 1 - 'head.csv' "$soma" train --data head.csv --net "linear 1"

# Folders of images.
mkdir -p pets/images
printf 'id,label\n1,cat\n2,dog\n' >pets/pets.csv
expect_line 1 - 'pets' "$soma" train --data pets --net "$net"
mkdir nothing
expect_line 1 - 'nothing' "$soma" train --data nothing --net "$net"
if [ -n "$shared" ]; then
    real=$shared/data/apparel-folders/train
    mkdir -p few/images
    head -41 "$real/train.csv" >few/few.csv
    for i in $(seq 1 40); do cp "$real/images/$i.png" few/images/ && chmod u+w "few/images/$i.png"; done
    printf 'not an image' >few/images/7.png
    expect_line 1 - 'few/images/7\.png' "$soma" train --data few --net "flatten, linear 10"
    expect 0 '^model' '7\.png' "$soma" train --data few --net "flatten, linear 10" --skip-bad --epochs 1 --out few-run
    printf '999,1\n' >>few/few.csv
    rm few/images/7.png
    cp "$real/images/7.png" few/images/7.png
    expect_line 1 - '999' "$soma" train --data few --net "flatten, linear 10"
    mkdir half && head -c 100000 "$shared/data/fashion-mnist/train-images-idx3-ubyte.gz" >half/train-images-idx3-ubyte.gz
    cp "$shared/data/fashion-mnist/train-labels-idx1-ubyte.gz" half
    expect_line 1 - 'half/train-images-idx3-ubyte.gz' "$soma" train --data half --net "$net"
fi

# No room on the disk (here: a limit on the size of files, which a full disk reports in the same way).
expect 0 '' '' "$soma" train --data drawn:60 --net "$net" --epochs 1 --out good
cp -r good before
expect 1 - 'good.*(File too large|No space left)' sh -c 'ulimit -f 40; "$0" train --data drawn:60 --net "$1, linear 64, linear 10" --resume good --epochs 3 2>&1 >/dev/null | head -1 >&2; ulimit -f 40; exec "$0" train --resume good --epochs 3' "$soma" "$net" || true
check "the model is as it was" cmp good/model.safetensors before/model.safetensors
expect 0 '' '' "$soma" train --resume good --epochs 2
expect 1 - 'predictions.csv.*(File too large|No space left)' sh -c 'ulimit -f 1; exec "$0" predict good drawn:5000 --csv predictions.csv' "$soma"
[ ! -e predictions.csv ] || fail "half a CSV was left"
if [ -w /dev/full ]; then
    expect 1 - 'full|No space' "$soma" predict good drawn:10 --csv /dev/full
fi

# Folders that cannot be used.
: >file
expect 1 - 'file' "$soma" train --data drawn:50 --net "$net" --epochs 1 --out file
expect 1 - 'file' "$soma" train --data drawn:50 --net "$net" --epochs 1 --out file/run
printf '{"settings": {' >good/config.json
expect_line 1 - 'good/config.json: line 1' "$soma" train --resume good
printf '{"settings": {"lr": "high"}}' >good/config.json
expect_line 1 - 'good/config.json: settings' "$soma" train --resume good
done_testing
