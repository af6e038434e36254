# SPDX-License-Identifier: Apache-2.0
"""Patients who never lived: a data set that is made here, by a fixed seed, under the licence of this file. Four measurements and
whether they fell ill, drawn from a logistic model that is written below; so nothing in it needs to be kept secret, and all of it
can stand for what must be.

usage: rows.py >rows.csv
"""
import math
import random

SEED = 1871
COUNT = 240
MODEL = (-0.7, 0.9, 0.5, 0.0, 1.4)  # intercept; per step of age, body mass index, blood pressure, glucose
STEPS = ((50, 15), (27, 4), (130, 15), (5.5, 1))  # middle and step of each, as train.awk has them


def rows():
    """(age, bmi, pressure, glucose, ill)"""
    chance = random.Random(SEED)
    for _ in range(COUNT):
        measured = [round(middle + step * sum(chance.uniform(-1, 1) for _ in range(3)), 1) for middle, step in STEPS]
        log_odds = MODEL[0] + sum(weight * scaled for weight, scaled in zip(MODEL[1:], scale(measured)))
        yield (*measured, int(chance.random() < 1 / (1 + math.exp(-log_odds))))


def scale(measured):
    return [(value - middle) / step for value, (middle, step) in zip(measured, STEPS)]


def line(row):
    return ",".join(str(value) for value in row)


def slope(weights, some):
    """The gradient of the log-likelihood: zero where `weights` are the best for these rows. train.awk is held against it."""
    total = [0.0] * 5
    for *measured, ill in some:
        inputs = [1.0, *scale(measured)]
        wrong = ill - 1 / (1 + math.exp(-sum(weight * value for weight, value in zip(weights, inputs))))
        for at, value in enumerate(inputs):
            total[at] += wrong * value
    return total


if __name__ == "__main__":
    for each in rows():
        print(line(each))
