# SPDX-License-Identifier: Apache-2.0
# Logistic regression by Newton's method over the rows of several members, none of whom sees another's. Each round every member says
# sums over its own rows, first and second derivatives of the log-likelihood, adds up what all have said, and takes the same step.
#
#   awk -v me=NAME -v members="NAME ..." -v rows=FILE -v out=FILE -f train.awk
#
# Standard output goes to the other members, standard input is what they say, with their names in front (holdfast-agent group).

function scaled(value, j) {
    if (j == 1) return (value - 50) / 15
    if (j == 2) return (value - 27) / 4
    if (j == 3) return (value - 130) / 15
    return (value - 5.5) / 1
}

function read_rows(    line, field, j) {
    while ((getline line < rows) > 0) {
        split(line, field, ",")
        x[++count, 0] = 1
        for (j = 1; j <= 4; j++) x[count, j] = scaled(field[j], j)
        y[count] = field[5]
    }
}

# Twenty numbers: the gradient, then the upper half of the negated Hessian.
function own_sums(    i, j, k, odds, p, at, sum, text) {
    for (i = 1; i <= count; i++) {
        odds = 0
        for (j = 0; j <= 4; j++) odds += weight[j] * x[i, j]
        p = 1 / (1 + exp(-odds))
        at = 0
        for (j = 0; j <= 4; j++) sum[++at] += (y[i] - p) * x[i, j]
        for (j = 0; j <= 4; j++) for (k = j; k <= 4; k++) sum[++at] += p * (1 - p) * x[i, j] * x[i, k]
    }
    text = sprintf("%.17g", sum[1])
    for (at = 2; at <= 20; at++) text = text sprintf(" %.17g", sum[at])
    return text
}

function note(name, of_round, text) {
    if ((of_round, name) in said) exit 1
    said[of_round, name] = text
    there[of_round]++
}

# In the order of the list, so that all get the same bits.
function add_up(of_round, total,    i, at, field) {
    for (at = 1; at <= 20; at++) total[at] = 0
    for (i = 1; i <= everybody; i++) {
        split(said[of_round, member[i]], field, " ")
        for (at = 1; at <= 20; at++) total[at] += field[at]
    }
}

function newton_step(total,    a, j, k, at, i, factor) {
    at = 5
    for (j = 0; j <= 4; j++) {
        a[j, 5] = total[j + 1]
        for (k = j; k <= 4; k++) a[j, k] = a[k, j] = total[++at]
    }
    for (i = 0; i <= 4; i++) {
        for (j = 0; j <= 4; j++) {
            if (j == i) continue
            factor = a[j, i] / a[i, i]
            for (k = i; k <= 5; k++) a[j, k] -= factor * a[i, k]
        }
    }
    for (i = 0; i <= 4; i++) weight[i] += a[i, 5] / a[i, i]
}

BEGIN {
    everybody = split(members, member, " ")
    read_rows()
    for (round = 1; round <= 8; round++) {
        mine = own_sums()
        note(me, round, mine)
        print round, mine
        fflush()
        while (there[round] < everybody) {
            if ((getline line) <= 0) exit 1
            # "NAME ROUND NUMBERS": one may be a round ahead of the others.
            split(line, word, " ")
            # "- NAME": that member has ended. Only who has said all that is needed of it may.
            if (word[1] == "-") {
                if (!((round, word[2]) in said)) exit 1
                continue
            }
            note(word[1], word[2], substr(line, length(word[1]) + length(word[2]) + 3))
        }
        add_up(round, total)
        newton_step(total)
    }
    for (j = 0; j <= 4; j++) printf "%.12f%s", weight[j], j < 4 ? " " : "\n" >out
}
