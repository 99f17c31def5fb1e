"""Demo task families with many good answers. Each function generates a row: instruction, input, output."""

import random
from collections.abc import Callable

from core.demo.words import fill

Example = tuple[str, str, str]  # instruction, input, output

OPENINGS = (
    "{name} had walked past the {place} in {town} every day for years without going in.",
    "When {name} came to the {place}, {weather}, and nobody was waiting.",
    "On {day} evening {name} found {find} on the steps of the {place}.",
    "Everyone in {town} knew that the {place} had been closed since the winter.",
)
MIDDLES = (
    "Inside, under a {colour} cloth, lay {find2}.",
    "An old neighbour called {name2} said that it had always belonged to someone else.",
    "{name} felt {mood}, but the door was open and the lamp was still warm.",
    "It took three nights and a great deal of tea before {name} understood what it meant.",
    "{name2} laughed at first, and then turned quite pale.",
    "By then {weather2}, and the way home could no longer be seen.",
    "Somebody had written one word on the wall, and the paint was not yet dry.",
    "There was a smell of {spice} and of wet {material}, as there had been long ago.",
)
ENDINGS = (
    "In the morning {name} put everything back, locked the door, and told no one.",
    "{name} never learned who had sent it, and after a while that no longer mattered.",
    "So the {place} opened again, and {name2} baked the bread for the first guests.",
    "Years later {name} would say that the whole of life in {town} began on that evening.",
    "They shook hands, and {name} went home with lighter steps.",
)


def story(rng: random.Random) -> Example:
    """Generate a few sentences of fiction."""
    ask = rng.choice(
        ("Write a short story about {name} and the {place} in {town}.",
         "Tell a short, {mood} story set at a {place}. The main character is {name}.",
         "Write a story of one paragraph in which {name} finds {find} in {town}.")
    )  # fmt: skip
    body = [rng.choice(OPENINGS), *rng.sample(MIDDLES, rng.randint(3, 5)), rng.choice(ENDINGS)]
    return _both(rng, ask, " ".join(body))


PROBLEMS = {
    "I want to start {hobby} but I am {mood} about it": (
        "Begin with fifteen minutes on {day}, so that {hobby} has a fixed place in the week.",
        "Borrow what you need at first; {hobby} costs little when you share it with {name}.",
        "Find one other person in {town} who likes {hobby} and meet at the {place}.",
        "Keep a page of notes, because progress in {hobby} is hard to see from one day to the next.",
    ),
    "I cannot sleep before my {day} meeting with the {team} team": (
        "Write the three points that matter to the {team} team on one card and stop there.",
        "Put the phone in another room an hour before bed and leave the {item} alone.",
        "Take a slow walk to the {place} after dinner, whatever the weather.",
        "Tell {name} from {team} what worries you; one honest sentence is enough.",
    ),
    "My neighbour {name} is noisy every {day}": (
        "Speak with {name} in person first, at a quiet hour and not on {day} itself.",
        "Say what you hear and when, and leave out what you think of it.",
        "Offer something in return, such as looking after the {item} during the holidays.",
        "If nothing changes, write a short and polite letter and keep a copy.",
    ),
    "I spend too much money on {hobby}": (
        "For one month, note every expense for {hobby} on the day you make it.",
        "Sell the {item} that you have not used since last year.",
        "Set an amount for {hobby} on the first {day} of the month and take it in cash.",
        "Ask {name} how others in {town} manage; there may be a group that shares tools.",
    ),
}
COMFORT = (
    "Be patient with yourself: most people need a few weeks.", "None of this has to be perfect to help.",
    "Start with the step that feels easiest and see how the week goes.",
    "If it gets worse, ask someone you trust for help.",
)  # fmt: skip


def advice(rng: random.Random) -> Example:
    """Generate numbered steps for an everyday problem."""
    problem, steps = rng.choice(list(PROBLEMS.items()))
    selected = rng.sample(steps, 3)
    lines = "\n".join(f"{place}. {step}" for place, step in enumerate(selected, 1))
    ask = rng.choice((". What should I do?", ". Do you have any advice?", ". How can I change that?"))
    return _both(rng, problem + ask, f"{lines}\n{rng.choice(COMFORT)}")


REASONS = (
    "the {item}s for the {team} team have not arrived", "the room at the {place} is taken",
    "{name2} is ill and nobody else has the key", "the train to {town} does not run that day",
    "we still wait for the figures from {team}",
)  # fmt: skip
WISHES = (
    "Would {day2} at the same time suit you?",
    "Could you tell me by {day2} whether that works?",
    "If you prefer, we can talk by telephone on {day2}.",
    "I will send a new plan before {day2}; please let me know what you need.",
)


def email(rng: random.Random) -> Example:
    """Generate a short letter that moves a meeting."""
    ask = rng.choice(
        ("Write an email to {name} to move the meeting on {day}, because {reason}.",
         "Draft a polite message telling {name} that {reason}, so {day} must wait.")
    )  # fmt: skip
    reason = rng.choice(REASONS)
    body = (
        "Subject: Our meeting on {day}\n\nDear {name},\n\n"
        f"{rng.choice(('I am sorry to write so late', 'I hope you are well', 'Thank you for your note'))}. "
        f"Unfortunately {reason}, so we cannot meet on {{day}} as planned. {rng.choice(WISHES)}\n\n"
        f"{rng.choice(('Kind regards', 'With best wishes', 'Many thanks'))},\n{{name3}}"
    )
    return _both(rng, ask.replace("{reason}", reason), body)


VIRTUES = (
    "It is light enough to carry to the {place} and back.",
    "The {material} feels warm in the hand and lasts for years.",
    "Every piece is checked by hand in {town} before it leaves the workshop.",
    "It folds flat in seconds, so it fits under any bed.",
    "Friends of {hobby} like it because it never gets in the way.",
    "If anything breaks, we mend it free of charge for three years.",
    "Choose {colour}, {colour2} or plain {material}.",
)


def product_description(rng: random.Random) -> Example:
    """Generate a product description for a shop."""
    ask = rng.choice(
        ("Write a product description for a {colour} {item} made of {material}.",
         "Describe a {material} {item} for people who love {hobby}.",
         "Write a short advertisement for a {item} from {town}.")
    )  # fmt: skip
    start = rng.choice(
        ("Meet the {item} that was made for {hobby}.", "A good {item} should be simple.",
         "Our new {colour} {item} comes from a small workshop in {town}.")
    )  # fmt: skip
    return _both(rng, ask, " ".join([start, *rng.sample(VIRTUES, rng.randint(3, 4))]))


TOPICS = {
    "why bread rises": (
        "Yeast eats the sugar in the dough and gives off gas", "the gas is caught in small bubbles",
        "heat makes the bubbles grow and then sets the walls around them"),
    "how a rainbow forms": (
        "sunlight enters a drop of rain and bends", "it is thrown back from the far side of the drop",
        "each colour leaves at a slightly different angle"),
    "why the sea is salty": (
        "rain washes salts out of the rocks", "rivers carry them down to the sea",
        "the water evaporates again and the salt stays behind"),
    "how a bicycle stays upright": (
        "a bicycle that leans to one side also steers to that side",
        "the wheels come back under the rider", "the faster it goes, the smaller the movements are"),
    "how vaccines work": (
        "the body meets a harmless part of a germ", "it learns to make the right antibodies",
        "when the real germ comes, the answer is quick"),
    "why leaves change colour": (
        "the tree takes back the green pigment in autumn", "yellow and red ones are left to see",
        "a layer of cork then closes the stem and the leaf falls"),
    "how a lock and key work": (
        "small pins of different lengths block the cylinder", "the cuts of the key lift each pin",
        "when all of them stand at the right height the cylinder turns"),
    "why we have seasons": (
        "the axis of the earth is tilted", "so each half leans towards the sun for part of the year",
        "the days become longer and the light falls more steeply"),
}  # fmt: skip
AUDIENCES = (
    "a child of eight", "someone who is new to it", "a visitor to the {place}", "my friend {name}",
    "a class in {town}", "the {team} team", "a curious reader", "my grandmother", "a guide in {town}",
)  # fmt: skip


def explanation(rng: random.Random) -> Example:
    """Generate a cause in three steps, in plain words."""
    topic, (first, then, last) = rng.choice(list(TOPICS.items()))
    who = rng.choice(AUDIENCES)
    start = rng.choice(("It happens in three steps.", "The short answer is simple.", "Think of it so."))
    picture = rng.choice(
        ("You can picture it with a {item}.", "People in {town} knew it long before it had a name.",
         "It is easy to watch on a quiet {day}.", "{name2} once showed it to me at the {place2}.")
    )  # fmt: skip
    body = f"{start} First, {first}. Then {then}. In the end {last}. {picture}"
    return _both(rng, f"Explain {topic} to {who}.", body)


COOKING = (
    "Fry the {vegetable} with the {spice} until soft, about {n} minutes.",
    "Boil the {base} in salted water and keep a cup of it.",
    "Add the {vegetable2} and a little water, cover, and wait {n} minutes.",
    "Stir in the {spice} and the {base} and let it rest.",
    "Roast the {vegetable2} in a hot oven with oil and {spice2}.",
)


def recipe(rng: random.Random) -> Example:
    """Generate a supper of three ingredients."""
    ask = rng.choice(
        ("Give me a simple recipe with {base} and {vegetable}.",
         "What can I cook for {name} from {base}, {vegetable} and {spice}?")
    )  # fmt: skip
    steps = rng.sample(COOKING, 3)
    lines = "\n".join(f"{place}. {step}" for place, step in enumerate(steps, 1))
    end = rng.choice(("Serve it warm.", "It tastes even better on {day}.", "Enough for four people."))
    head = "Ingredients: {base}, {vegetable}, {vegetable2}, {spice}, salt and oil."
    return _both(rng, ask, f"{head}\n{lines}\n{end}", n=rng.randint(5, 30))


TALK = (
    "{name}: Did you hear about the {place}?\n{name2}: Only that it opens on {day}.",
    "{name}: I left the {item} on the train.\n{name2}: Again? Ask at {town}, they keep everything.",
    "{name}: You look {mood} today.\n{name2}: I start {hobby} tonight and I know nobody.",
    "{name}: The {team} team wants an answer.\n{name2}: Then let us give them one before {day}.",
    "{name}: Is that {find}?\n{name2}: It lay in front of the {place}, and nobody claims it.",
    "{name}: Shall we go before dark?\n{name2}: Yes, {weather}, and the road is long.",
)
PARTING = (
    "{name}: Then I will see you there.", "{name}: Good. Bring the {item2}, just in case.",
    "{name}: Let me think about it until {day2}.", "{name}: You are right, as always.",
)  # fmt: skip


def dialogue(rng: random.Random) -> Example:
    """Generate a dialogue of two people."""
    ask = rng.choice(
        ("Write a short dialogue between {name} and {name2} at the {place}.",
         "{name} meets {name2} in {town}. Write what they say to each other.",
         "Write a conversation in which {name} and {name2} talk about the {item}.")
    )  # fmt: skip
    return _both(rng, ask, "\n".join([*rng.sample(TALK, rng.randint(2, 3)), rng.choice(PARTING)]))


def _both(rng: random.Random, instruction: str, output: str, **values: object) -> Example:
    """Fill instruction and output together, so that a slot has the same value in both."""
    question, answer = fill(rng, f"{instruction}\x00{output}", **values).split("\x00")
    return question, "", answer


TASKS = (story, advice, email, product_description, explanation, recipe, dialogue)
OPEN_TASKS: dict[str, Callable[[random.Random], Example]] = {task.__name__: task for task in TASKS}
