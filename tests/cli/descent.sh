#!/bin/sh
# soma plot descent: where optimisers come on surfaces whose minima are known, what is said of those that do not, and the pictures.
. "$(dirname "$0")/lib.sh"

expect 2 - "no optimiser 'adma'; did you mean 'adam'" "$soma" plot descent --optim adma
expect 2 - "takes up to 8 numbers with commas" "$soma" plot descent --lr 0.1,x
expect 2 - "takes two numbers" "$soma" plot descent --start 1
expect 2 - "steps must be from 1" "$soma" plot descent --steps 0
expect 2 - "surface" "$soma" plot descent --surface mountain
expect 2 - "more than 16 paths" "$soma" plot descent --optim sgd,adam,adamw,lion,rprop --lr 1,2,3,4

# Without gnuplot: the table, a clear message, and the script.
expect 1 'sgd, lr 0.1 .*reached at step' 'apt-get install gnuplot-nox.*descent.gp is written' env SOMA_GNUPLOT= "$soma" plot descent --surface bowl --optim sgd --lr 0.1
grep -q '^-4 1.4 17.8$' descent.gp || fail "the script lacks the start: $(head -20 descent.gp)"
if ! command -v gnuplot >/dev/null; then
    echo "gnuplot is not here: pictures are not checked"
    done_testing
    exit 77
fi
# 2 / 10 is the highest rate that gradient descent bears on a bowl ten times steeper along y.
expect 0 'sgd, lr 0.19 .*reached at step' '' "$soma" plot descent --surface bowl --optim sgd --lr 0.19,0.21 -o pictures.png
expect 0 'sgd, lr 0.21 .*diverged at step' '' "$soma" plot descent --surface bowl --optim sgd --lr 0.19,0.21 -o pictures
[ "$(head -c 4 pictures.png | tail -c 3)" = PNG ] || fail "no PNG"
grep -q 'sgd, lr 0.21: diverged' pictures.svg || fail "the legend does not say who diverged"
# Momentum rolls over the ridge, gradient descent stays in the nearer well.
expect 0 'sgd, lr 0.03 .*in a local minimum' '' "$soma" plot descent --surface wells
expect 0 'momentum, lr 0.03, momentum 0.9 .*reached at step' '' "$soma" plot descent --surface wells
expect 0 'sgd, lr 0.1, momentum 0.5 .*reached' '' "$soma" plot descent --surface saddle --optim sgd,rprop --momentum 0.5
expect 0 'sgd, lr 0.1 .*at the saddle' '' "$soma" plot descent --surface saddle --optim sgd --start -1,0
# The minimum of Rosenbrock's valley, from the usual start.
expect 0 'lbfgs, lr 1 .*reached at step [1-4][0-9]$' '' "$soma" plot descent --surface rosenbrock --optim lbfgs
expect 0 '"reached": [0-9]' '' "$soma" plot descent --surface himmelblau --optim sgd --json
for name in sgd momentum nesterov adam adamw adagrad adadelta rmsprop adamax nadam radam lion lars lamb rprop asgd; do
    expect 0 "^$name, lr" '' "$soma" plot descent --surface bowl --optim $name --steps 20
    grep -q diverged out && fail "$name diverges with the rate that is meant for it"
done
done_testing
