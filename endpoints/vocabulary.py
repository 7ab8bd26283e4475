"""Made-up but readable tasks from word lists: what the scripted endpoint answers with."""
# ruff: noqa: SIM905 - a word list reads better as text than as a list

import random

_ADJECTIVES = (
    "amber ancient bitter blunt brisk broad bronze busy calm careful cheap clever coarse coastal copper crisp curious "
    "damp daring deep distant drowsy dusty eager early earnest empty faded faint fancy feral fierce flat fragile "
    "frosty gentle giddy glossy grand green grim hasty hollow honest humble hungry icy idle ivory jagged jolly keen "
    "late lively lonely loud lucky mellow mild misty modest muddy narrow neat nimble noisy odd olive orderly pale "
    "patient plain polite proud purple quaint quick quiet rapid rare restless ripe robust rough rural rusty salty "
    "scarlet secret shallow sharp shy silent silver sleepy slender smoky soft solemn sour spare steady steep stern "
    "sturdy subtle sunny swift tall tame tender thick thorny tidy timid tiny tough urban vast velvet violet vivid "
    "warm wary weary wild windy wise witty wooden worn young zesty"
).split()
_NOUNS = (
    "acorn almanac anchor apron archer arrow atlas baker ballad barley barn basket beacon beekeeper bell bench bicycle "
    "blanket boat bottle bridge broom bucket cabin cactus candle canoe canyon carpenter carpet castle cellar chapel "
    "cheese chess chimney cider clock cobbler comet compass cookbook cottage crane cricket crow curtain daisy desert "
    "diary dolphin donkey drawer drum dune eagle easel ember engine falcon farmer feather fence ferry fiddle florist "
    "fountain fox garden gardener gate glacier glove goat granary guitar hammer hammock harbour harvest hedge heron "
    "hive horse inn island ivy jacket jar jeweller jury kettle kite kitchen ladder lantern lemon letter lighthouse "
    "librarian lizard locksmith loom market marsh meadow merchant mill mirror moose mountain museum needle nurse oak "
    "oasis orchard otter oven owl painter parcel parrot pebble pencil pepper piano pigeon pillow pilot pine plumber "
    "pocket poet pond porch postman potter pumpkin quarry quilt rabbit raft railway raven recipe reef ribbon river "
    "robin rocket roof rooster rope saddle sailor salmon school sculptor shepherd ship shoe snail soap sparrow "
    "spider spoon stable stamp statue stove stranger sugar sundial swan tailor teacher teapot tent theatre thistle "
    "thread thunder tiger tower tractor trumpet tulip turtle umbrella valley village violin waiter walnut watchmaker "
    "waterfall weaver whale wheat whistle willow windmill wolf workshop yarn"
).split()
_VERBS = (
    "Compare Describe Explain Summarise Rewrite Outline Justify Criticise Classify Translate Contrast Estimate Invent "
    "Imagine List Narrate Paraphrase Plan Predict Propose Rank Recommend Review Shorten Simplify Sketch Suggest Teach "
    "Evaluate Expand"
).split()
_FRAMES = (
    "{verb} how {a} {noun} and {a2} {noun2} could {act} near {a3} {noun3}",
    "{verb} the {a} {noun} that a {noun2} must {act} before {a2} {noun3} arrives",
    "{verb} why {number} {a} {noun}s never {act} beside the {a2} {noun2}",
    "{verb} one {a} way to {act} {a2} {noun} with nothing but {noun2} and {noun3}",
    "{verb} what the {noun} said when {number} {a} {noun2}s began to {act} in {a2} weather",
    "{verb} a {a} rule for {noun} owners who {act} every {noun2} during {a2} {noun3} season",
    "{verb} {number} uses of {a} {noun} for somebody who wants to {act} without {a2} {noun2}",
    "{verb} the difference between {act}ing {a} {noun} and guarding {a2} {noun2}",
)
_ACTS = (
    "repair borrow paint hide polish count carry measure barter balance collect defend follow gather harvest hoist "
    "mend pack plant protect rescue scatter search shelter steer stitch trade trim wander weigh whisper"
).split()
_NUMBERS = "two three four five six seven eight nine ten eleven twelve twenty thirty forty".split()


def instruction(rng: random.Random) -> str:
    """Make up an instruction of 10 to 17 words; two share some 7 words at most by chance."""
    return rng.choice(_FRAMES).format_map(_words(rng)) + "."


def passage(rng: random.Random) -> str:
    """Make up a short text to work on."""
    return " ".join(_sentence(rng) for _ in range(rng.randint(1, 2)))


def answer(rng: random.Random) -> str:
    """Make up an answer of one to four sentences."""
    return " ".join(_sentence(rng) for _ in range(rng.randint(1, 4)))


def label(rng: random.Random) -> str:
    """Make up a one-word label."""
    return rng.choice(_ADJECTIVES).capitalize()


def _sentence(rng: random.Random) -> str:
    size = rng.randint(6, 12)
    words = [rng.choice(_ADJECTIVES if position % 2 else _NOUNS) for position in range(size)]
    return f"The {' '.join(words[: size // 2])} {rng.choice(_ACTS)}ed {' '.join(words[size // 2 :])}."


def _words(rng: random.Random) -> dict[str, str]:
    a, a2, a3 = rng.sample(_ADJECTIVES, 3)
    noun, noun2, noun3 = rng.sample(_NOUNS, 3)
    parts = {"a": a, "a2": a2, "a3": a3, "noun": noun, "noun2": noun2, "noun3": noun3}
    return parts | {"verb": rng.choice(_VERBS), "act": rng.choice(_ACTS), "number": rng.choice(_NUMBERS)}
