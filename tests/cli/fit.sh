# soma fit: classical models on tables, and what becomes of their files.
. "$(dirname "$0")/lib.sh"

awk 'BEGIN { print "a,b,noise,y"; for (i = 0; i < 60; i++) { a = sin(i); b = cos(1.7 * i); n = sin(3.1 * i + 1);
    printf "%.6f,%.6f,%.6f,%.6f\n", a, b, n, 3 * a - 2 * b + 5 + 0.01 * sin(9 * i) } }' >line.csv
awk 'BEGIN { print "u,v,kind"; for (i = 0; i < 90; i++) printf "%.4f,%.4f,%s\n", 8 * (i % 3) + sin(i), 5 * (i % 3 == 1) + cos(2 * i),
    i % 3 == 0 ? "left" : i % 3 == 1 ? "top" : "right" }' >kinds.csv

expect 0 'intercept\) +(4\.99|5\.00|5$)' - "$soma" fit linear --data line.csv
expect 0 '(0\.99|1\.00).* on the data fitted, .* on 12 samples kept aside' - "$soma" fit ridge --data line.csv --alpha 0.1 --out ridge.safetensors
expect 0 'R² +(0\.9|1\.0)' - "$soma" eval ridge.safetensors --data line.csv
expect 0 '^noise +0$' - "$soma" fit lasso --data line.csv --alpha 0.1
expect 0 '"zero_weights": 1' - "$soma" fit lasso --data line.csv --alpha 0.1 --json
expect 0 'of 3 features' - "$soma" fit elasticnet --data line.csv --alpha 0.05 --l1-ratio 0.9 --no-intercept
for model in logistic svm; do
    expect 0 'accuracy +100\.0 %' - "$soma" fit $model --data kinds.csv --out $model.safetensors
    expect 0 'accuracy +100\.0 %' - "$soma" eval $model.safetensors --data kinds.csv
    expect 0 '^0,left$' - "$soma" predict $model.safetensors kinds.csv
done
grep -v right kinds.csv >two.csv
expect 0 'accuracy +100\.0 %' - "$soma" fit svm --data two.csv --out two.safetensors
expect 0 'accuracy +100\.0 %' - "$soma" eval two.safetensors --data two.csv
expect 0 ' 30 ' - "$soma" fit kmeans --data kinds.csv --target kind -k 3 --csv clusters.csv
check 'a line a sample' test "$(wc -l <clusters.csv)" = 91
expect 0 '100\.0%' - "$soma" fit pca --data kinds.csv --target kind --csv pc.csv
check 'two components' grep -qx 'id,pc1,pc2' pc.csv

expect 2 - "did you mean 'lasso'" "$soma" fit laso --data line.csv
expect 2 - '\-\-data is missing' "$soma" fit linear
expect 2 - '\-\-k is for kmeans and pca, not for linear' "$soma" fit linear --data line.csv -k 3
expect 2 - 'what logistic does' "$soma" fit softmax --data kinds.csv
expect 2 - 'l1-ratio must be above 0' "$soma" fit elasticnet --data line.csv --l1-ratio 0
expect 1 - 'left out with --target' "$soma" fit kmeans --data kinds.csv
expect 1 - 'classes are for logistic and svm' "$soma" fit linear --data kinds.csv
expect 2 - 'makes no model file' "$soma" fit pca --data line.csv --out m.safetensors
expect 1 - 'is not a finite number' "$soma" fit linear --data kinds.csv
expect 1 - '61 clusters of 60 samples' "$soma" fit kmeans --data line.csv -k 61
expect 2 - 'l1-ratio must be' "$soma" fit elasticnet --data line.csv --l1-ratio 1.5
done_testing
