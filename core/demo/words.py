"""Words for the sentences of the demo pool, and the function that fills them in."""

import random
import re

WORDS: dict[str, tuple[str, ...]] = {
    "name": (
        "Amara", "Ben", "Clara", "Daniel", "Elif", "Farid", "Grace", "Hugo", "Ines", "Jonas",
        "Keiko", "Liam", "Marta", "Noor", "Oscar", "Priya", "Quentin", "Rosa", "Samir", "Tess",
        "Uma", "Viktor", "Wanda", "Yusuf", "Zoe", "Anton", "Bella", "Chidi", "Dora", "Emil",
    ),
    "town": (
        "Ashford", "Brindle", "Calder Bay", "Dunmore", "Eastwick", "Fallowfield", "Granby",
        "Harrow Point", "Kestrel", "Linden", "Marlow", "Northgate", "Orchard Hill", "Redwater",
        "Saltmarsh", "Thornbury", "Westerly", "Elmstead",
    ),
    "item": (
        "notebook", "lamp", "kettle", "backpack", "chair", "scarf", "bicycle", "blender",
        "headset", "umbrella", "desk", "camera", "teapot", "tent", "keyboard", "jacket",
    ),
    "fruit": ("apples", "pears", "plums", "oranges", "peaches", "lemons", "cherries", "melons"),
    "goods": ("pencils", "candles", "tickets", "stickers", "marbles", "postcards", "bolts", "seeds"),
    "place": (
        "lighthouse", "bakery", "train station", "library", "orchard", "harbour", "clock tower",
        "greenhouse", "mountain hut", "theatre", "fish market", "observatory", "old mill",
    ),
    "weather": (
        "a cold rain had begun", "the fog would not lift", "snow lay on the roofs",
        "the sun was already low", "a warm wind came off the sea", "the first stars were out",
        "thunder rolled far away", "the street was white with frost",
    ),
    "mood": ("nervous", "curious", "tired", "hopeful", "stubborn", "lonely", "cheerful", "restless"),
    "find": (
        "a brass key", "a letter without a stamp", "a map with one red line", "a silent music box",
        "a child's drawing", "a pocket watch that ran backwards", "a jar of blue sand",
        "a photograph of the same room", "a locked suitcase", "a bird with a ring on its leg",
    ),
    "hobby": (
        "gardening", "chess", "painting", "running", "pottery", "birdwatching", "baking",
        "photography", "knitting", "swimming", "playing the cello", "woodwork",
    ),
    "team": ("design", "sales", "support", "finance", "research", "logistics", "training", "events"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "colour": ("red", "blue", "green", "grey", "yellow", "black", "white", "orange"),
    "material": ("oak", "steel", "cotton", "bamboo", "wool", "recycled plastic", "cork", "linen"),
    "vegetable": ("carrots", "leeks", "spinach", "mushrooms", "courgettes", "peppers", "cabbage"),
    "base": ("rice", "lentils", "pasta", "potatoes", "chickpeas", "noodles", "barley"),
    "spice": ("cumin", "thyme", "paprika", "ginger", "basil", "black pepper", "coriander"),
}  # fmt: skip


def fill(rng: random.Random, text: str, **values: object) -> str:
    """Replace each `{slot}` by the given word, else by a random one from WORDS.

    A repeated slot gets the same word; `{slot2}` gets another word of the same list than `{slot}`.
    """
    used = {slot: str(word) for slot, word in values.items()}

    def word(match: re.Match[str]) -> str:
        slot = match[1]
        if slot not in used:
            used_words = set(used.values())
            used[slot] = rng.choice([w for w in WORDS[slot.rstrip("23")] if w not in used_words])
        return used[slot]

    filled = re.sub(r"\{(\w+)\}", word, text)
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", filled)  # an oak desk
