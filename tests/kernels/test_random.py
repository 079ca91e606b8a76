"""The order of rows in each epoch: a permutation, each as probable as any other, and the same on every processor."""

import itertools
import zlib

import numpy as np
import pytest
from fastjac.kernels.arrays import address_of
from fastjac.kernels.random import shuffle

RECORDED = [[8, 3, 2, 5, 9, 1, 6, 7, 10, 11, 0, 4], [0, 10, 4, 11, 8, 1, 6, 3, 5, 2, 7, 9]]
RECORDED_SUM = 4034832545
POWERS = (64, 256, 1024, 4096, 2**15, 2**16)
SIZES = (*range(1, 40), *(n + k for n in POWERS for k in (-1, 0, 1)), 1009, 65521)


def orders(rows, seed=0, first=0, count=1):
    found = np.full((count, rows), -1)
    shuffle(address_of(found), rows, seed, first, count)
    return found


def mixed(number):
    """The finaliser of SplitMix64, in Python's whole numbers."""
    number %= 2**64
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB % 2**64
    return number ^ (number >> 31)


def by_hand(rows, seed, epoch):
    """What ``shuffle`` says it does, on a list."""
    key = mixed(mixed(seed * 31) + epoch)
    order = []
    for i in range(rows):
        place = mixed(key + (i + 1) * 0x9E3779B97F4A7C15) * (i + 1) >> 64
        order.append(i)
        order[i], order[place] = order[place], order[i]
    return order


@pytest.mark.parametrize("rows", SIZES)
def test_every_row_comes_once(rows):
    for order in orders(rows, seed=rows, first=3, count=3):
        np.testing.assert_array_equal(np.sort(order), np.arange(rows))


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, -(2**63), 8427351234])
@pytest.mark.parametrize("epoch", [0, 1, 1000, 2**40, 2**62])
def test_the_orders_are_those_of_the_formula(seed, epoch):
    for rows in (1, 2, 3, 10, 257):
        assert orders(rows, seed, epoch)[0].tolist() == by_hand(rows, seed, epoch)


def test_the_orders_are_the_same_on_every_processor():
    assert orders(12, 7, 2, 2).tolist() == RECORDED
    assert zlib.crc32(orders(2**16 + 1, 7, 5).astype("<i8")) == RECORDED_SUM


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_many_epochs_in_one_call_are_those_one_by_one(rows):
    together = orders(rows, 5, 11, 6)
    for k, order in enumerate(together):
        np.testing.assert_array_equal(order, orders(rows, 5, 11 + k)[0])


def test_nothing_is_written_but_the_orders():
    held = np.full(50, -1)
    shuffle(address_of(held[10:]), 7, 0, 0, 4)
    assert (held[:10] == -1).all()
    assert (held[38:] == -1).all()
    assert (held[10:38] >= 0).all()


def over_epochs(rows, many):
    return orders(rows, 3, 0, many)


def over_seeds(rows, many):
    return np.concatenate([orders(rows, seed) for seed in range(many)])


WAYS = [over_epochs, over_seeds]


def chi_square(counts, expected):
    return ((counts - expected) ** 2 / expected).sum()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rows", [2, 3, 4, 5])
def test_all_permutations_are_equally_probable(rows, way):
    names = {one: k for k, one in enumerate(itertools.permutations(range(rows)))}
    many = 500 * len(names)
    counts = np.bincount([names[tuple(one)] for one in way(rows, many).tolist()], minlength=len(names))
    degrees = len(names) - 1
    assert abs(chi_square(counts, 500) - degrees) < 4 * np.sqrt(2 * degrees)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rows", [8, 100, 1000])
def test_every_row_comes_anywhere(rows, way):
    many, parts = 4000, min(rows, 20)
    places = np.argsort(way(rows, many), axis=1)  # of each row, where it comes
    table = np.zeros((parts, parts), np.int64)
    np.add.at(table, (np.arange(rows) * parts // rows, places * parts // rows), 1)
    degrees = (parts - 1) ** 2
    expected = many * rows / parts**2
    # rows of one order exclude each other's places, which lessens the sum: for all rows by rows / (rows - 1)
    found = chi_square(table, expected) * (rows - 1) / rows
    assert abs(found - degrees) < 4 * np.sqrt(2 * degrees)


def test_the_order_of_two_neighbours_says_nothing():
    found = orders(50, 9, 0, 20_000)
    rises = np.mean(np.diff(found, axis=1) > 0, axis=0)  # at each place
    assert np.abs(rises - 0.5).max() < 4.5 * 0.5 / np.sqrt(20_000)
    assert abs(np.mean(np.abs(np.diff(found, axis=1)) == 1) - 2 / 50) < 4 * np.sqrt(0.04 / (49 * 20_000))


@pytest.mark.parametrize("apart", [1, 2, 64])
@pytest.mark.parametrize("way", WAYS)
def test_orders_of_neighbouring_epochs_and_seeds_have_nothing_in_common(way, apart):
    rows, many = 64, 5000
    found = way(rows, many)
    one, other = found[:-apart], found[apart:]
    scaled = (found - (rows - 1) / 2) / np.std(np.arange(rows))
    correlations = (scaled[:-apart] * scaled[apart:]).mean(axis=1)  # of variance 1 / (rows - 1)
    assert abs(correlations.mean()) < 4 / np.sqrt((rows - 1) * len(one))
    assert abs(correlations.var() * (rows - 1) - 1) < 4 * np.sqrt(2 / len(one))
    same = (one == other).sum(axis=1)  # mean and variance 1, for any number of rows
    assert abs(same.mean() - 1) < 4 / np.sqrt(len(one))
    # what leads from one to the other is as random as they are: its first and last place are anything
    between = np.take_along_axis(np.argsort(one, axis=1), other, axis=1)
    for place in (0, 1, rows - 1):
        counts = np.bincount(between[:, place], minlength=rows)
        assert abs(chi_square(counts, len(one) / rows) - (rows - 1)) < 4 * np.sqrt(2 * (rows - 1))
