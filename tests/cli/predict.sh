#!/bin/sh
# Train, evaluate and predict on real images: a folder with a CSV of ids gives a CSV of the same form, single images give names.
[ -w /dev/shm ] && export TMPDIR=/dev/shm # every file is synced, and disks are slow
. "$(dirname "$0")/lib.sh"
[ -n "$shared" ] || { echo "skipped: no shared/data (SOMA_SHARED)"; exit 77; }
real=$shared/data/apparel-folders
images=$shared/data/image-decoders

expect 0 '^model' '' "$soma" train --data "$real/train" --net "flatten, linear 64 relu, linear 10" --epochs 4 --lr 0.002 --seed 1 --out run
expect 0 '' '500 predictions in out.csv' "$soma" predict run "$real/test" --csv out.csv
[ "$(head -1 out.csv)" = id,label ] || fail "the header is $(head -1 out.csv)"
cut -d, -f1 out.csv >ids
check "the ids are those of test.csv, in its order" cmp ids "$real/test/test.csv"
# Two thirds right is what such a small network gives at the very least; one in ten is chance.
check "most predictions are right" sh -c "paste -d, out.csv '$real/test/answers.csv' | awk -F, 'NR > 1 { n++; right += \$2 == \$4 } END { print right, n; exit !(n == 500 && right > 330) }'"
expect 0 '^id,label$' '' "$soma" predict run/model.safetensors "$real/test"
check "stdout is the same CSV" cmp out out.csv
expect 0 '^2001\.png: [0-9]+ [0-9.]+ %, [0-9]+ [0-9.]+ %$' - sh -c 'cd "$1/test/images" && "$0" predict "$2" 2001.png --top 2' "$soma" "$real" "$PWD/run"
expect 0 '"probability": 0\.' - "$soma" predict run "$real/test/images/2001.png" --json
label=$(sed -n 's/.*2001.png: \([0-9]*\) .*/\1/p' out)
expect 0 '' - "$soma" predict run "$real/test/images/2001.png" "$real/test/images/2002.png"
check "single images and the folder agree" sh -c "[ \"\$(sed 's/.*png: \\([0-9]*\\) .*/\\1/' out | tr '\n' ' ')\" = \"\$(sed -n '2,3s/.*,//p' out.csv | tr '\n' ' ')\" ]"
# Colour, palette, 16 bits and other sizes become what the network wants.
expect 0 'basn2c16.png: ' - "$soma" predict run "$images/pngsuite/basn2c16.png" "$images/pngsuite/basn3p04.png"
expect 0 '^accuracy +[67]' '' "$soma" eval run --data "$shared/data/fashion-mnist"
expect 0 '"confusion": \[' '' "$soma" eval run --data "$real/train" --json

# Wrong images: named; left out with --skip-bad.
expect 1 - 'truncated_image.png: ' "$soma" predict run "$images/damaged/truncated_image.png"
expect 0 '2001' 'left out' "$soma" predict run "$images/damaged/truncated_image.png" "$real/test/images/2001.png" --skip-bad
expect 1 - 'nothing to predict' "$soma" predict run "$images/damaged/truncated_image.png" --skip-bad
cp -r "$real/test" broken && chmod -R u+w broken && head -c 200 "$real/test/images/2003.png" >broken/images/2003.png
cp out.csv before.csv
expect 1 - 'broken/images/2003\.png' "$soma" predict run broken --csv out.csv
check "the old CSV is as it was" cmp out.csv before.csv
expect 0 '' '2003\.png' "$soma" predict run broken --csv out.csv --skip-bad
[ "$(wc -l <out.csv)" = 500 ] || fail "--skip-bad must leave out one: $(wc -l <out.csv) lines"

# Wrong models.
head -c 3000 run/model.safetensors >short.safetensors
expect 1 - 'short.safetensors' "$soma" predict short.safetensors "$real/test"
printf 'hello' >foreign
expect 1 - 'foreign' "$soma" eval foreign --data "$real/train"
expect 1 - 'a checkpoint' "$soma" eval "$(ls run/checkpoint-* | head -1)" --data "$real/train"
expect 1 - 'nothing.safetensors' "$soma" predict nothing.safetensors "$real/test"
expect 1 - 'without model.safetensors' "$soma" predict broken "$real/test"
expect 2 - 'what to predict' "$soma" predict run
expect 2 - 'which model' "$soma" eval --data x
expect 2 - '--data is missing' "$soma" eval run

# Summary, of a model and of a text.
expect 0 'network +flatten, linear 64 relu, linear 10' - "$soma" summary run
expect 0 '50,890' - "$soma" summary --net "flatten, linear 64 relu, linear 10" --input 1x28x28
expect 0 '"parameters": 50890' - "$soma" summary run/model.safetensors --json
expect 2 - '--input takes the sizes' "$soma" summary --net "linear 3" --input 3y3
expect 2 - '--input is missing' "$soma" summary --net "linear 3"
expect 1 - "lnear" "$soma" summary --net "lnear 3" --input 4
expect 2 - 'give a model file' "$soma" summary
done_testing
