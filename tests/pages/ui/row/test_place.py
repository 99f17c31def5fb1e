"""The reader's place: it stays at its row while the list changes, and gives way to the first row of another list."""

import numpy as np
from pages.ui.row.place import Place, checksum, find_place

LIST = np.array([7, 3, 9, 5])


def test_without_a_place_the_first_row_comes_first_and_was_not_picked():
    assert find_place(LIST, None) == (Place(7, 0, checksum(LIST), picked=False), True)


def test_a_row_stays_open_where_the_list_puts_it():
    place, listed = find_place(np.array([9, 7, 5]), Place(5, 3, checksum(LIST)))
    assert (place.row, place.position, place.picked, listed) == (5, 2, True, True)


def test_a_row_that_merely_came_first_gives_way_to_the_next_first_row():
    place, _ = find_place(LIST[::-1], Place(7, 0, checksum(LIST), picked=False))
    assert place.row == 5


def test_a_row_that_leaves_the_list_with_its_pin_stays_open_until_the_list_changes_again():
    without = LIST[LIST != 9]
    place, listed = find_place(without, Place(9, 2, None))
    assert (place.row, place.position, listed) == (9, 2, False)
    assert find_place(without, place) == (place, False)
    other, listed = find_place(np.array([1, 2]), place)
    assert (other.row, other.picked, listed) == (1, False, True)


def test_a_row_that_was_last_has_no_next_row_after_it_left():
    place, _ = find_place(LIST[:3], Place(5, 3, None))
    assert place.position == 3
