"""Invariants of rate limiter and bank index under random histories."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdfkd.platform.bank_index import BankIndex
from fastdfkd.platform.rate_limiter import RateLimiter
from fastdfkd.recipe.policies import BankPolicies
from tests.platform.conftest import tiny


@st.composite
def limiters(draw: st.DrawFn) -> RateLimiter:
    rounds = draw(st.integers(1, 12))
    lockstep = draw(st.booleans())
    return RateLimiter(
        rounds=rounds,
        warmup_rounds=draw(st.integers(0, rounds - 1)),
        updates_per_round=draw(st.integers(1, 5)),
        tolerance=0 if lockstep else draw(st.integers(1, 4)),
        wave=draw(st.integers(1, 4)) if lockstep else 1,
        publish_every=draw(st.integers(1, 4)),
    )


def check(index: BankIndex, trained: int) -> None:
    limiter = index.limiter
    everywhere = [*index.waiting, *index.reserved, *index.pending, *index.rounds]
    assert sorted(everywhere) == list(range(limiter.rounds))
    held = [reference for reference in index.references if reference is not None]
    assert len(held) == min(len(index.rounds), index.capacity_rounds + index.spare_rounds)
    assert held == [f"images {round}" for round in index.rounds[len(index.rounds) - len(held) :]]
    made = index.inserted + len(index.reserved)
    ahead = made - limiter.warmup_rounds - trained / limiter.updates_per_round
    assert ahead <= limiter.tolerance + limiter.wave
    assert trained <= limiter.updates_per_round * max(index.inserted - limiter.warmup_rounds, 0)


@settings(max_examples=150, deadline=None)
@given(limiters(), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_any_history_keeps_the_policies_and_ends(
    limiter: RateLimiter, capacity: int, seed: int
) -> None:
    index, random_source, trained = BankIndex(limiter, capacity), random.Random(seed), 0
    total = limiter.updates_per_round * (limiter.rounds - limiter.warmup_rounds)
    history: list[tuple[int, str]] = []
    for _ in range(10_000):
        if trained == total and index.finished:
            break
        move = random_source.choice(["reserve", "insert", "train", "die", "restart"])
        if move == "reserve":
            most = random_source.randint(1, 3)
            got = index.reserve(random_source.randrange(limiter.wave), most)
            assert len(got) <= (1 if limiter.lockstep else most)
            assert got == sorted(got)
        elif move == "insert" and index.reserved:
            round = random_source.choice(sorted(index.reserved))
            index.insert(round, f"images {round}")
            history.append((round, f"images {round}"))
        elif move == "die" and index.reserved and random_source.random() < 0.3:
            index.release(random_source.choice(sorted(index.reserved)))
        elif move == "restart" and random_source.random() < 0.1:
            index = BankIndex.restored(limiter, capacity, history, trained, set(index.reserved))
        elif move == "train" and (frontier := index.frontier(trained)) is not None:
            until, visible = frontier
            assert visible <= len(index.rounds)
            if limiter.lockstep:
                assert visible == limiter.rounds_for(trained + 1)
            trained = index.updates = random_source.randint(trained + 1, until)
        check(index, trained)
    assert (trained, index.finished) == (total, True)


@given(limiters())
def test_a_round_starts_from_a_student_that_was_published_before_it(limiter: RateLimiter) -> None:
    total = limiter.updates_allowed(limiter.rounds)
    for round in range(limiter.rounds):
        updates = limiter.student_for(round)
        assert updates % limiter.publish_every == 0
        assert updates < max(total, 1)
        if not limiter.lockstep:
            assert updates == 0
            continue
        made = next(u for u in range(total + 1) if limiter.may_start(round, round, u))
        assert updates <= made < updates + limiter.publish_every


@pytest.mark.parametrize("synthesizers", [1, 3])
@pytest.mark.parametrize("every", [1, 4, None])
def test_a_trainer_restarted_from_a_checkpoint_gets_the_rounds_the_bank_held_then(
    every: int | None, synthesizers: int
) -> None:
    """In lock-step, at any update, with a bank of two rounds."""
    recipe = tiny(
        platform__schedule="lockstep",
        platform__synthesizers=synthesizers,
        platform__checkpoint_every=every,
        synthesis__rounds=20,
        bank__capacity=32,
    )
    limiter, saved = RateLimiter.of(recipe), 0
    index = BankIndex(limiter, recipe.capacity_rounds, recipe.spare_rounds)
    while index.updates < recipe.updates:
        for round in [round for each in range(synthesizers) for round in index.reserve(each)]:
            index.insert(round, f"images {round}")
        if (again := index.frontier(saved)) is None:
            continue  # warm-up
        held = index.between(0, again[1])[1][-recipe.capacity_rounds :]
        assert None not in held
        until, _ = index.frontier(index.updates) or pytest.fail("held back for good")
        while index.updates < until:
            index.updates += 1
            rounds, rest = divmod(index.updates, limiter.updates_per_round)
            if every and rest == 0 and (limiter.warmup_rounds + rounds) % every == 0:
                saved = index.updates


def test_lockstep_with_one_synthesizer_is_the_papers_order() -> None:
    limiter = RateLimiter(
        rounds=4, warmup_rounds=1, updates_per_round=2, tolerance=0, wave=1, publish_every=2
    )
    index, order, trained = BankIndex(limiter, 4), [], 0
    while trained < 6:
        if rounds := index.reserve(most=3):
            (round,) = rounds
            index.insert(round, "images")
            order.append(f"round {round}")
        elif (frontier := index.frontier(trained)) is not None:
            trained = index.updates = frontier[0]
            order.append(f"updates to {trained}, {frontier[1]} rounds in the bank")
    assert order == [
        "round 0",
        "round 1",
        "updates to 2, 2 rounds in the bank",
        "round 2",
        "updates to 4, 3 rounds in the bank",
        "round 3",
        "updates to 6, 4 rounds in the bank",
    ]


@pytest.mark.parametrize("synthesizers", [1, 3])
@pytest.mark.parametrize("schedule", ["lockstep", "async"])
@pytest.mark.parametrize("eager", ["synthesis", "training"])
def test_the_stated_policies_are_kept(schedule: str, synthesizers: int, eager: str) -> None:
    """Whoever is quicker: synthesis waits at the tolerance, training at the images there are."""
    recipe = tiny(
        platform__schedule=schedule,
        platform__synthesizers=synthesizers,
        platform__tolerance_rounds=2,
        synthesis__rounds=12,
        bank__capacity=64,
    )
    policies, batch = BankPolicies.of(recipe), recipe.synthesis.batch_size
    index = BankIndex(RateLimiter.of(recipe), recipe.capacity_rounds, recipe.spare_rounds)
    warmup, drawn, first, most_ahead = recipe.synthesis.warmup_rounds * batch, 0, 0, 0.0

    def synthesise() -> bool:
        made = [round for number in range(synthesizers) for round in index.reserve(number)]
        for round in made:
            index.insert(round, "images")
        return bool(made)

    def train() -> bool:
        nonlocal drawn, first
        if (frontier := index.frontier(index.updates)) is None:
            return False
        first = first or index.inserted * batch
        drawn += (frontier[0] - index.updates) * recipe.distillation.batch_size
        index.updates = frontier[0]
        return True

    quick, slow = (synthesise, train) if eager == "synthesis" else (train, synthesise)
    while index.updates < recipe.updates:
        while quick():
            paid_for = policies.samples_per_insert * (index.inserted * batch - warmup)
            assert drawn <= max(paid_for, 0)
            most_ahead = max(most_ahead, (paid_for - drawn) / policies.samples_per_insert)
            assert index.state()["held"] * batch <= policies.capacity
        slow()
    assert first >= policies.minimum_size
    assert drawn == policies.samples_per_insert * (12 * batch - warmup)
    assert most_ahead <= policies.tolerance + synthesizers * batch, "running rounds are finished"
    if eager == "synthesis" and synthesizers == 1:
        assert most_ahead == policies.tolerance + batch


def test_a_cache_of_the_teachers_answers_draws_less() -> None:
    """36 images an insert of 16; with a cache of 2 half of each worker's 6, with 8 one of them."""
    for reuse, workers, drawn in ((None, 1, 36), (2, 1, 18), (2, 2, 18), (8, 2, 6)):
        recipe = tiny(distillation__teacher_cache=reuse, platform__workers=workers)
        assert BankPolicies.of(recipe).samples_per_insert == drawn / 16
