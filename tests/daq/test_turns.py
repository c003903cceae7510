"""A queue in which every owner has its turn, against a simple model."""

import threading
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.daq._turns import Turns

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 3)),
        st.tuples(st.just("get"), st.integers(1, 4)),
        st.tuples(st.just("drop"), st.integers(0, 3)),
    ),
    max_size=60,
)


@given(STEPS)
def test_each_owner_has_its_turn_and_its_own_order(steps: list[tuple[str, int]]) -> None:
    turns: Turns[tuple[int, int]] = Turns()
    model: dict[int, list[tuple[int, int]]] = {}  # in the order of whose turn it is
    for number, (what, value) in enumerate(steps):
        if what == "put":
            turns.put(value, (value, number))
            model.setdefault(value, []).append((value, number))
        elif what == "drop":
            assert turns.drop(value) == model.pop(value, [])
        elif model:
            owner = next(iter(model))
            queue = model.pop(owner)
            room = iter([True] * value)
            assert turns.get_some(lambda _, room=room: next(room, False)) == queue[:value]
            if queue[value:]:
                model[owner] = queue[value:]


def test_the_first_thing_goes_whether_it_fits_or_not() -> None:
    turns: Turns[str] = Turns()
    turns.put("me", "large")
    turns.put("me", "larger")
    assert turns.get_some(lambda *_: False) == ["large"]
    assert turns.get_some(lambda *_: False) == ["larger"]


def test_who_waits_gets_what_is_put() -> None:
    turns: Turns[int] = Turns()
    got: list[Sequence[int]] = []
    threads = [
        threading.Thread(target=lambda: got.append(turns.get_some(lambda *_: False))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for number in range(3):
        turns.put("me", number)
    for thread in threads:
        thread.join(30)
    assert sorted(each for some in got for each in some) == [0, 1, 2]
