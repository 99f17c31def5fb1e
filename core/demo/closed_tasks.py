"""Demo task families with one right answer. Each function generates a row: instruction, input, output."""

import random
from collections.abc import Callable
from datetime import date, timedelta

from core.demo.words import WORDS, fill

Example = tuple[str, str, str]  # instruction, input, output


def arithmetic(rng: random.Random) -> Example:
    """Generate a two-step word problem with its solution."""
    start, more, groups = rng.randint(12, 90), rng.randint(3, 40), rng.randint(2, 9)
    fewer = rng.randint(2, 11)
    kind = rng.randrange(3)
    texts = (
        "{name} has {a} {goods} and buys {b} more. {name2} takes {c} of them. How many are left?",
        "A shop in {town} sells {c} boxes with {a} {fruit} each, and {b} loose ones. How many {fruit} is that?",
        "{name} packs {a} {goods} a day for {c} days, and {b} on the last day. How many {goods} are packed in all?",
    )
    if kind == 0:
        third, first, total = fewer, start + more, start + more - fewer
        steps = f"{start} + {more} = {first}, and {first} - {fewer} = {total}"
    else:
        third, first, total = groups, groups * start, groups * start + more
        steps = f"{groups} * {start} = {first}, and {first} + {more} = {total}"
    return fill(rng, texts[kind], a=start, b=more, c=third), "", f"{steps}. The answer is {total}."


UNITS = (
    ("kilometres", "metres", 1000), ("hours", "minutes", 60), ("kilograms", "grams", 1000),
    ("metres", "centimetres", 100), ("weeks", "days", 7), ("litres", "millilitres", 1000),
    ("minutes", "seconds", 60), ("days", "hours", 24), ("feet", "inches", 12),
    ("centimetres", "millimetres", 10), ("pounds", "ounces", 16), ("gallons", "pints", 8),
)  # fmt: skip


def unit_conversion(rng: random.Random) -> Example:
    """Generate a conversion of whole units to smaller ones."""
    large, small, factor = rng.choice(UNITS)
    amount = rng.randint(2, 95)
    ask = rng.choice(
        ("Convert {n} {large} to {small}.", "How many {small} are there in {n} {large}?",
         "Express {n} {large} in {small}.", "{name} measured {n} {large}. Give this in {small}.")
    )  # fmt: skip
    one = {"feet": "foot"}.get(large, large.removesuffix("s"))
    working = f"One {one} is {factor} {small}, so {amount} {large} are {amount} * {factor}"
    answer = f"{working} = {amount * factor} {small}."
    return fill(rng, ask, n=amount, large=large, small=small), "", answer


PRAISE = (
    "It works better than I hoped", "The {colour} one looks lovely on my table",
    "It arrived in {town} two days early", "I have used it every {day} since and still enjoy it",
    "{name} at the shop was kind and quick", "Worth every penny",
)  # fmt: skip
BLAME = (
    "It broke on the second {day}", "The {colour} paint came off at once", "It took five weeks to reach {town}",
    "Nobody answered when I wrote to {name} at the shop", "It is much smaller than the picture",
    "I want my money back",
)  # fmt: skip


def sentiment(rng: random.Random) -> Example:
    """Generate a review and its sentiment."""
    good = rng.random() < 0.5
    parts = rng.sample(PRAISE if good else BLAME, 2)
    review = fill(rng, f"I bought the {{item}} last month. {parts[0]}. {parts[1]}.")
    ask = rng.choice(
        ("Is this review positive or negative?", "Classify the sentiment of the review.",
         "Label the following review as positive or negative.")
    )  # fmt: skip
    return ask, review, "positive" if good else "negative"


def extraction(rng: random.Random) -> Example:
    """Generate a notice and the fields copied from it."""
    hour, room = rng.randint(8, 18), rng.randint(2, 48)
    facts = {slot: rng.choice(WORDS[slot]) for slot in ("name", "day", "place", "town")}
    notice = rng.choice(
        ("On {day} at {h}:00, {name} will speak about {hobby} in room {r} of the {place} in {town}.",
         "{name} invites everyone in {town} to an evening of {hobby}: {day}, {h}:00, "
         "room {r} of the {place}.")
    )  # fmt: skip
    wanted = rng.sample(("name", "day", "place", "town", "time", "room"), 3)
    values = facts | {"time": f"{hour}:00", "room": str(room)}
    ask = f"Extract the {wanted[0]}, the {wanted[1]} and the {wanted[2]} from the text."
    answer = "\n".join(f"{field}: {values[field]}" for field in wanted)
    return ask, fill(rng, notice, h=hour, r=room, **facts), answer


def sorting(rng: random.Random) -> Example:
    """Generate words or numbers to put in order."""
    falling = rng.random() < 0.4
    count = rng.randint(4, 7)
    if rng.random() < 0.5:
        numbers = rng.sample(range(3, 400), count)
        order = "largest to smallest" if falling else "smallest to largest"
        answer = ", ".join(map(str, sorted(numbers, reverse=falling)))
        return f"Sort these numbers from {order}.", ", ".join(map(str, numbers)), answer
    names = rng.sample(WORDS["name"] + WORDS["town"], count)
    order = "reverse alphabetical" if falling else "alphabetical"
    answer = ", ".join(sorted(names, reverse=falling))
    return f"Put these names in {order} order.", ", ".join(names), answer


def dates(rng: random.Random) -> Example:
    """Generate a date some days before or after another."""
    start = date(2021, 1, 1) + timedelta(days=rng.randrange(1800))
    gap = rng.randint(3, 60) * rng.choice((1, -1))
    end = start + timedelta(days=gap)
    side = "after" if gap > 0 else "before"
    text = rng.choice(
        ("What is the date {n} days {side} {start}?",
         "A parcel for {name} is due {n} days {side} {start}. Which date is that?")
    )  # fmt: skip
    shown = f"{start:%B} {start.day}, {start.year}"
    answer = f"{abs(gap)} days {side} {shown} is {end:%B} {end.day}, {end.year}, a {end:%A}."
    return fill(rng, text, n=abs(gap), side=side, start=shown), "", answer


def logic(rng: random.Random) -> Example:
    """Generate a question of who is taller, older or faster: yes or no with the reason."""
    first, second, third = rng.sample(WORDS["name"], 3)
    more = rng.choice(("taller", "older", "faster", "richer"))
    asked = rng.choice(((first, third), (third, first), (first, second), (third, second)))
    holds = (first, second, third).index(asked[0]) < (first, second, third).index(asked[1])
    facts = [f"{first} is {more} than {second}.", f"{second} is {more} than {third}."]
    rng.shuffle(facts)
    reason = f"The order is {first}, {second}, {third}"
    so = "is" if holds else "is not"
    answer = f"{'Yes' if holds else 'No'}. {reason}, so {asked[0]} {so} {more} than {asked[1]}."
    return f"{' '.join(facts)} Is {asked[0]} {more} than {asked[1]}?", "", answer


KINDS = ("fruit", "vegetable", "colour", "hobby", "material", "day", "spice", "town")


def odd_one_out(rng: random.Random) -> Example:
    """Generate three words of one kind and one of another."""
    kind, other = rng.sample(KINDS, 2)
    strange = rng.choice(WORDS[other])
    items = [*rng.sample(WORDS[kind], 3), strange]
    rng.shuffle(items)
    ask = rng.choice(("Which one does not belong?", "Find the odd one out."))
    return ask, ", ".join(items), f"{strange}: the others are each a kind of {kind}."


TASKS = (arithmetic, unit_conversion, sentiment, extraction, sorting, dates, logic, odd_one_out)
CLOSED_TASKS: dict[str, Callable[[random.Random], Example]] = {task.__name__: task for task in TASKS}
