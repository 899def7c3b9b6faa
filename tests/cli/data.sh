#!/bin/sh
# soma data: describing, drawing, sheets, and downloads (from a folder, so that no network is needed).
. "$(dirname "$0")/lib.sh"

expect 2 - 'which data' "$soma" data
expect 2 - 'draw DIR' "$soma" data draw
expect 1 - 'nowhere' "$soma" data nowhere
expect 0 '40 drawn images' - "$soma" data draw set --count 40 --seed 3 --quiet
expect 1 - 'is there already' "$soma" data draw set
expect 2 - '--count takes 1' "$soma" data draw other --count 0
[ "$(ls set/images | wc -l)" = 40 ] || fail "40 images were drawn, but there are $(ls set/images | wc -l)"
[ "$(wc -l <set/labels.csv)" = 41 ] || fail "labels.csv has $(wc -l <set/labels.csv) lines"
expect 0 '"samples": 40' - "$soma" data set --json
expect 0 'classification, 10 classes' - "$soma" data set
expect 0 '40 drawn' - "$soma" data draw again --count 40 --seed 3 --quiet
check "the same seed draws the same images" diff -r set again

expect 0 'sheet.png' '' "$soma" data sheet set -o sheet.png --count 12
[ "$(head -c 4 sheet.png | tail -c 3)" = PNG ] || fail "sheet.png is no PNG"
expect 0 'plain.png' 'gnuplot' env SOMA_GNUPLOT= "$soma" data sheet set -o plain.png --count 12
[ "$(head -c 4 plain.png | tail -c 3)" = PNG ] || fail "without gnuplot plain.png is no PNG"

printf 'a,b,y\n1,2,3.5\n2,2,4.5\n3,1,5.5\n4,1,7.5\n' >table.csv
expect 0 'target +3\.5 to 7\.5, mean 5\.25, std 1\.47902' - "$soma" data table.csv --task regress
expect 0 '^  +0  x +20 ' - sh -c '{ echo a,y; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo $i,x; done; echo 1,z; } >skew.csv; "$0" data skew.csv' "$soma"
expect 0 "unbalanced: 'z' has 1 samples, 20 times fewer than 'x'" - "$soma" data skew.csv
expect 1 - 'line 3|:3' sh -c 'printf "a,y\n1,2\n1,2,3\n" >ragged.csv; "$0" data ragged.csv' "$soma"

# Downloads: nothing but the right bytes comes to be there.
expect 2 - "did you mean 'mnist'" "$soma" data get mnits
mkdir wrong && for f in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do echo no >wrong/$f-ubyte.gz; done
if "$soma" info --json | grep -q '"libcurl": "'; then
    expect 1 - 'another one \(its SHA-256 is wrong\)' env http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 \
        "$soma" data get fashion-mnist --mirror "file://$work/wrong" --to got
    [ ! -e got ] || fail "a wrong download left $(ls got)"
    if [ -n "$shared" ]; then
        expect 0 '^got$' 'SHA-256 right' "$soma" data get fashion-mnist --mirror "file://$shared/data/fashion-mnist" --to got
        check "the bytes are those of the set" cmp got/t10k-labels-idx1-ubyte.gz "$shared/data/fashion-mnist/t10k-labels-idx1-ubyte.gz"
        expect 0 '^got$' - "$soma" data get fashion-mnist --to got # all there: no network is asked
        echo mine >got/t10k-labels-idx1-ubyte.gz
        expect 1 - 'is another file of that name' "$soma" data get fashion-mnist --to got
        [ "$(cat got/t10k-labels-idx1-ubyte.gz)" = mine ] || fail "a file that was there has been overwritten"
    fi
fi
if [ -n "$shared" ]; then
    expect 0 '9  Ankle boot +6,000' - "$soma" data "$shared/data/fashion-mnist"
    expect 0 'no labels' - "$soma" data "$shared/data/apparel-folders/test"
fi
done_testing
