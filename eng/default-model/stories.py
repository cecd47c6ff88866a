#!/usr/bin/env python3
"""A seeded generator of short stories.

A story is a plot (plots/*.txt) told beat by beat about a cast that is drawn once, so that names, pronouns, objects and
places refer back to what was introduced. story(seed) is a pure function of its seed.

    python3 stories.py --count 3 --seed 7        print stories
    python3 stories.py --statistics 100000       speed, length and uniqueness
"""

import argparse
import hashlib
import random
import re
import time
from pathlib import Path

from story_world import (ELDERS, FOOD, FRIEND_ANIMALS, HERO_ANIMALS, HERO_PEOPLE, HERO_PEOPLE_WEIGHTS, NAMES, PRONOUNS,
                         SETTINGS, TRAITS, WEATHER, WEATHER_WEIGHTS, WORLDS)

PLOT_FOLDER = Path(__file__).resolve().parent / "plots"
DEFAULT_WEATHER = ("sunny", "rainy", "windy", "foggy")
LOVES = ("old stories", "the smell of rain", "long walks", "singing", "drawing", "collecting stones", "counting the stars",
         "climbing hills", "surprises", "building things", "the color blue", "riddles", "early mornings", "making plans")

# A template earlier in its list is told somewhat more often, which gives the model clear first choices.
PREFERENCE = 1.15

SENTENCE_START = re.compile(r'(?:(?<=[.!?] )|(?<=[.!?] ")|(?<=\n")|(?<=[.]" ))[a-z]')
ARTICLE_BEFORE_VOWEL = re.compile(r"\b([Aa]) (?=[aeioAEIO]|u(?!ni))")
ALTERNATIVES = re.compile(r"\[([^\]]*)\]")


# Words of the templates that others can replace anywhere.
SYNONYMS = [
    (r"\bSuddenly\b", "[Suddenly|Suddenly|All of a sudden]"),
    (r"^At last\b", "[At last|At last|Finally|In the end]"),
    (r"^Soon\b", "[Soon|Soon|Before long]"),
    (r"^After a while\b", "[After a while|A little later]"),
    (r"^Then\b", "[Then|Then|And then]"),
    (r"\bIn the evening\b", "[In the evening|When evening came]"),
    (r"\bThe next morning\b", "[The next morning|Early the next morning]"),
    (r"(?<![Aa]ll )\bat once\b", "[at once|right away]"),
    (r"\bbegan to\b", "[began to|started to]"),
    (r"\bafraid\b", "[afraid|afraid|scared]"),
    (r"\bwonderful\b", "[wonderful|marvelous|splendid]"),
    (r"\bbeautiful\b", "[beautiful|lovely]"),
    (r"\bNobody\b", "[Nobody|No one]"),
    (r"\bnobody\b", "[nobody|no one]"),
    (r"\bEveryone\b", "[Everyone|Everybody]"),
    (r"\beveryone\b", "[everyone|everybody]"),
    (r"(?<=!\" )cried\b", "[cried|called|exclaimed]"),
    (r"(?<=\{A\} )ran\b", "[ran|hurried]"),
    (r"(?<=\{he\} )ran\b", "[ran|hurried]"),
]


def with_synonyms(text):
    for pattern, replacement in SYNONYMS:
        text = re.sub(pattern, replacement, text)
    return text


class Template:
    """Text with fields in braces and alternatives in brackets: `{A} was [glad|happy]`."""

    def __init__(self, text):
        pieces = ALTERNATIVES.split(text)
        text = "".join(f"[{piece}]" if index % 2 else with_synonyms(piece) for index, piece in enumerate(pieces))
        pieces = ALTERNATIVES.split(text)
        self.text = text
        self.parts = [piece.split("|") if index % 2 else piece for index, piece in enumerate(pieces)]
        self.plain = len(pieces) == 1

    def expand(self, fields, rng):
        if self.plain:
            return self.text.format_map(fields)
        chosen = [part if isinstance(part, str) else pick(part, rng) for part in self.parts]
        return "".join(chosen).format_map(fields)

    def expansions(self):
        """Every choice of alternatives."""
        texts = [""]
        for part in self.parts:
            texts = [head + tail for head in texts for tail in ([part] if isinstance(part, str) else part)]
        return texts


class Beat:
    """The templates that can tell one step of a story, by the world they fit and whether they need a morning."""

    def __init__(self, name):
        self.name = name
        self.lines = []
        self.choices = {}

    def add(self, line):
        worlds, morning = WORLDS, False
        while (marker := line[:3]) in ("p> ", "a> ", "m> "):
            line = line[3:]
            if marker == "m> ":
                morning = True
            else:
                worlds = ("people",) if marker == "p> " else ("animals",)
        self.lines.append((worlds, morning, Template(line)))

    def close(self):
        for world in WORLDS:
            for morning in (False, True):
                self.choices[world, morning] = [template for worlds, needs_morning, template in self.lines
                                                if world in worlds and (morning or not needs_morning)]

    def tell(self, fields, rng):
        templates = self.choices[fields["world"], fields["day"] == "morning"]
        return pick_early(templates, rng).expand(fields, rng)


class Plot:
    """What happens: the sets of values that its own fields take together, and its beats in order.

    A step is (chance, beat or name of a shared beat), or None where a paragraph ends.
    """

    def __init__(self, name):
        self.name = name
        self.options = {}
        self.sets = []
        self.steps = []

    def option(self, name, default):
        return tuple(self.options[name].split()) if name in self.options else default

    def close(self):
        self.worlds = self.option("worlds", WORLDS)
        self.weather = self.option("weather", DEFAULT_WEATHER)
        self.weather_weights = [WEATHER_WEIGHTS[kind] for kind in self.weather]
        self.days = self.option("day", ("morning", "morning", "afternoon", "day"))
        self.traits = self.option("trait", tuple(TRAITS))
        self.friends = self.option("bkind", tuple(FRIEND_ANIMALS))
        self.near = self.option("near", ())
        self.far = self.option("far", ())
        self.theme = self.options["theme"]
        self.settings = {
            world: [setting for setting in SETTINGS[world]
                    if (not self.near or any(word in setting[0].split() for word in self.near))
                    and not any(word in setting[0].split() for word in self.far)]
            for world in self.worlds
        }
        for _, beat in (step for step in self.steps if step):
            if isinstance(beat, Beat):
                beat.close()


def pick(items, rng):
    return items[int(rng.random() * len(items))]


def pick_early(items, rng):
    return items[int(rng.random() ** PREFERENCE * len(items))]


def read_plots(folder=PLOT_FOLDER):
    """The shared beats by name, and the plots."""
    shared, plots = {}, []
    for path in sorted(folder.glob("*.txt")):
        plot = beat = value_set = None
        for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("== "):
                plot, beat, value_set = Plot(line[3:]), None, None
                plots.append(plot)
            elif line == "//":
                plot.steps.append(None)
                beat = value_set = None
            elif line.startswith("-- "):
                words = line[3:].split()
                chance = int(words.pop(0)[1:]) / 100 if words[0].startswith("?") else 1.0
                name = words[0]
                value_set = None
                if name.startswith("@"):
                    plot.steps.append((chance, name[1:]))
                    beat = None
                elif plot is None:
                    beat = shared[name] = Beat(name)
                else:
                    beat = Beat(f"{plot.name}.{name}")
                    plot.steps.append((chance, beat))
            elif line.startswith("set ") and beat is None:
                value_set = ([name.strip() for name in line[4:].split(",")], [])
                plot.sets.append(value_set)
            elif value_set is not None:
                worlds = {"p> ": ("people",), "a> ": ("animals",)}.get(line[:3], WORLDS)
                values = [Template(value.strip()) for value in line.removeprefix("p> ").removeprefix("a> ").split(" ; ")]
                if len(values) != len(value_set[0]):
                    raise ValueError(f"{path.name}:{number}: {len(values)} values for {value_set[0]}")
                value_set[1].append((worlds, values))
            elif beat is not None:
                beat.add(line)
            elif plot is not None and ":" in line:
                name, _, value = line.partition(":")
                plot.options[name] = value.strip()
            else:
                raise ValueError(f"{path.name}:{number}: not understood: {line}")
    for beat in shared.values():
        beat.close()
    for plot in plots:
        plot.close()
    return shared, plots


SHARED, PLOTS = read_plots()


def cast_hero(world, rng, fields):
    if world == "people":
        kind, adjectives, gender = rng.choices(HERO_PEOPLE, HERO_PEOPLE_WEIGHTS)[0]
        hands, home = "hands", "house"
    else:
        kind = pick(tuple(HERO_ANIMALS), rng)
        adjectives, gender = ("little", "little", "young", "small"), None
        hands, home = HERO_ANIMALS[kind]
    gender = gender or pick("fm", rng)
    adjective = pick(adjectives, rng)
    named = rng.random() > (0.12 if world == "animals" else 0.05)
    name = pick(NAMES[world][gender], rng)
    pronouns = PRONOUNS[gender]
    fields.update(
        A=name if named else f"the {kind}", Av=name if named else f"little {kind}",
        Athe=f"{adjective} {name}" if kind in ("girl", "boy") else f"{name} the {kind}",
        Aname=name if named else f"Little {kind.capitalize()}", Aa=f"{adjective} {kind}", Ak=kind,
        hands=hands, hand=hands[:-1], home=home, love=pick(LOVES, rng), **pronouns)
    return gender, kind, name, named


def cast_friend(world, friends, hero, rng, fields):
    gender = hero[0] if rng.random() < 0.3 else ("f" if hero[0] == "m" else "m")
    name = hero[2]
    while name == hero[2]:
        name = pick(NAMES[world][gender], rng)
    he, him, his, _, own = PRONOUNS[gender].values()
    if world == "people":
        kind = "girl" if gender == "f" else "boy"
        known = pick((f"{fields['his']} friend {name}", f"{fields['his']} best friend {name}",
                      f"{fields['his']} cousin {name}", f"{name} from next door"), rng)
        rival, hands = f"a tall {kind} named {name}", "hands"
    else:
        kind = hero[1]
        while kind == hero[1]:
            kind = pick(friends, rng)
        known = pick((f"{fields['his']} friend {name} the {kind}", f"{name} the {kind}",
                      f"a friendly {kind} named {name}"), rng)
        rival, hands = f"a proud {kind} named {name}", "paws"
    fields.update(B=name, Bk=kind, Bx=known, Bnew=f"a {kind} named {name}", Brival=rival, bhe=he, bhim=him, bhis=his,
                  bself=own, BHe=he.capitalize(), bhands=hands, bhand=hands[:-1])
    return name


def cast(plot, world, rng):
    """The fields that every plot can name."""
    fields = {"world": world, "day": pick(plot.days, rng), "trait": pick(plot.traits, rng)}
    hero = cast_hero(world, rng, fields)
    friend = cast_friend(world, plot.friends, hero, rng, fields)
    pen_friend = friend
    while pen_friend in (friend, hero[2]):
        pen_friend = pick(NAMES[world][pick("fm", rng)], rng)
    elder, introduced, gender = pick(ELDERS[world], rng)
    lives, town, spot, folk = pick(plot.settings[world], rng)
    weather = rng.choices(plot.weather, plot.weather_weights)[0]
    at = {"the farm": "on", "the island": "on", "the hill": "on", "the shore": "on", "the pond": "by"}.get(town, "in")
    che, chim, chis, _, _ = PRONOUNS[gender].values()
    fields.update(
        C=elder, Cx=introduced, che=che, chim=chim, chis=chis, P=pen_friend, lives=lives, town=town, spot=spot,
        folk=folk, intown=f"{at} {town}", totown=f"to {town}", weather=weather, wadj=pick(WEATHER[weather], rng),
        food=pick(FOOD[world], rng), lk="child" if world == "people" else "mole" if hero[1] != "mole" else "mouse",
        He=fields["he"].capitalize(), His=fields["his"].capitalize(), named=hero[3])
    return fields


def opening(fields, rng):
    """The first sentences; also sets the field `then`, the time at which the plot begins."""
    named = "named" if fields["named"] else "unnamed"
    introduced_by_day = rng.random() < 0.45
    sentences = [SHARED[f"open_{named}_{'day' if introduced_by_day else 'plain'}"].tell(fields, rng)]
    if rng.random() < 0.6:
        sentences.append(SHARED[f"trait_{fields['trait']}"].tell(fields, rng))
    if introduced_by_day:
        fields["then"] = "that day" if fields["day"] == "day" else f"that {fields['day']}"
        if rng.random() < 0.5:
            sentences.insert(1, SHARED[f"weather_{fields['weather']}"].tell(fields, rng))
    else:
        fields["then"] = f"one {fields['wadj']} {fields['day']}"
    return sentences


def capitalised(sentence):
    at = 1 if sentence[0] == '"' else 0
    return sentence[:at] + sentence[at].upper() + sentence[at + 1:]


def introduce_elder(text, fields):
    """Names the elder's work at the first mention, where a name stands free in the narration."""
    name, introduced = fields["C"], fields["Cx"]
    at = text.find(name)
    if name == introduced or at < 0 or text.find(introduced) >= 0:
        return text
    after = text[at + len(name):at + len(name) + 1]
    if after not in (" ", ".", "?") or text.count('"', 0, at) % 2:
        return text
    if re.search(r'(?:^|\n|[.!?] |[.!?]" )$', text[:at]):
        introduced = capitalised(introduced)
    return text[:at] + introduced + text[at + len(name):]


def polished(text):
    text = SENTENCE_START.sub(lambda match: match.group().upper(), text)
    return ARTICLE_BEFORE_VOWEL.sub(r"\1n ", text)


def story(seed, plot=None):
    """One story: paragraphs that a blank line separates."""
    rng = random.Random(seed)
    plot = plot or pick(PLOTS, rng)
    fields = cast(plot, pick(plot.worlds, rng), rng)
    paragraph = opening(fields, rng)
    for names, rows in plot.sets:
        values = pick([values for worlds, values in rows if fields["world"] in worlds], rng)
        for name, value in zip(names, values):
            fields[name] = value.expand(fields, rng)
    paragraphs = []
    if rng.random() < 0.5:
        paragraphs.append(paragraph)
        paragraph = []
    for step in plot.steps:
        if step is None:
            paragraphs.append(paragraph)
            paragraph = []
            continue
        chance, beat = step
        if chance < 1.0 and rng.random() >= chance:
            continue
        if isinstance(beat, str):
            beat = SHARED[f"moral_{plot.theme}" if beat == "moral" else beat]
        paragraph.append(beat.tell(fields, rng))
    paragraphs.append(paragraph)
    text = "\n\n".join(" ".join(map(capitalised, sentences)) for sentences in paragraphs if sentences)
    return polished(introduce_elder(text, fields))


def stories(first_seed, count):
    for seed in range(first_seed, first_seed + count):
        yield story(seed)


def fingerprint(text):
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def statistics(count, first_seed):
    started = time.perf_counter()
    texts = list(stories(first_seed, count))
    seconds = time.perf_counter() - started
    words = sorted(len(text.split()) for text in texts)
    vocabulary = {word for text in texts for word in re.findall(r"[A-Za-z']+", text)}
    print(f"{count} stories in {seconds:.1f} s: {count / seconds:.0f} stories/s on one core")
    print(f"different: {len({fingerprint(text) for text in texts})} of {count}")
    print(f"different first 60 characters: {len({text[:60] for text in texts})}")
    print(f"words: min {words[0]}, 5 % {words[count // 20]}, median {words[count // 2]}, "
          f"95 % {words[count * 19 // 20]}, max {words[-1]}; vocabulary {len(vocabulary)} words")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3, help="stories to print")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first story")
    parser.add_argument("--plot", help="tell only this plot")
    parser.add_argument("--statistics", type=int, metavar="N", help="speed, length and uniqueness of N stories")
    arguments = parser.parse_args()
    if arguments.statistics:
        statistics(arguments.statistics, arguments.seed)
        return
    chosen = next((plot for plot in PLOTS if plot.name == arguments.plot), None)
    if arguments.plot and not chosen:
        raise SystemExit(f"no plot '{arguments.plot}'; there are: {', '.join(plot.name for plot in PLOTS)}")
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        print(story(seed, chosen), end="\n\n----\n\n")


if __name__ == "__main__":
    main()
