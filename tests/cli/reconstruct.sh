# soma train --task reconstruct: autoencoders by name learn to give back images and rows; eval, predict and resume know them.
. "$(dirname "$0")/lib.sh"

for net in 'autoencoder 16' 'denoisingautoencoder 16 noise 0.2' 'vae 8 hidden 64' 'rbm 32'; do
    name=${net%% *}
    expect 0 "validation +loss [0-9.]+, R² 0\.[1-9]" - "$soma" train --data drawn:1500 --task reconstruct --net "$net" --epochs 4 --batch 32 \
        --lr 0.002 --seed 3 --out "$name" --quiet
    expect 0 'RMSE +0\.[0-9]+' - "$soma" eval "$name" --data drawn:200
    expect 0 '^0,0\.[0-9]+' - "$soma" predict "$name" drawn:20
    expect 0 "$name|Linear|RBM|Variational" - "$soma" summary "$name"
done
expect 0 '' '' "$soma" predict vae drawn:20 --csv errors.csv --quiet
check 'a head and a line a sample' test "$(wc -l <errors.csv)" = 21
check 'the column is called error' grep -qx 'id,error' errors.csv

# The same bits when it is stopped and resumed: noise of the code and Gibbs sampling included.
for net in 'vae 8 hidden 64' 'rbm 32'; do
    rm -rf whole half
    expect 0 'R²' - "$soma" train --data drawn:600 --task reconstruct --net "$net" --epochs 3 --seed 5 --out whole --quiet
    expect 0 'R²' - "$soma" train --data drawn:600 --task reconstruct --net "$net" --epochs 2 --seed 5 --out half --quiet
    expect 0 'R²' - "$soma" train --resume half --epochs 3 --quiet
    check 'the same model' cmp whole/model.safetensors half/model.safetensors
done

awk 'BEGIN { print "a,b,c"; for (i = 0; i < 200; i++) printf "%.4f,%.4f,%.4f\n", sin(i), 2 * sin(i), cos(i) }' >rows.csv
expect 0 'R² 0\.[5-9]|R² 1' - "$soma" train --data rows.csv --task reconstruct --net 'linear 2, linear 3' --epochs 60 --lr 0.05 --out rows --quiet
expect 1 - 'must give back its input' "$soma" train --data drawn:100 --task reconstruct --net 'flatten, linear 10' --out wrong
check 'nothing is left behind' test ! -e wrong
expect 1 - 'for classes|is for' "$soma" train --data drawn:100 --task reconstruct --net autoencoder --loss cross_entropy --out wrong
done_testing
