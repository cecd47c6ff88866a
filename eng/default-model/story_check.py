#!/usr/bin/env python3
"""Expands every template of every plot, and some thousand stories, and looks for mistakes.

    python3 story_check.py
"""

import random
import re

from stories import PLOTS, SHARED, Beat, capitalised, cast, opening, pick, polished, story

SUSPECT = re.compile(
    r"\s\s(?<!\n\n)|[{}\[\]|;_<>]| [.,!?]|\.\.|,,|\b(\w+) \1\b(?<!had had)|\ba [aeio]|\ban [^aeiouAEIOUh]|[.!?] [a-z]"
    r"|^[a-z]|\"[a-z][^\"]*$", re.M)


def suspects(text):
    """Fragments that look like mistakes."""
    found = [text[max(0, match.start() - 25):match.end() + 25] for match in SUSPECT.finditer(text)]
    found += [f"odd quotes: {paragraph[:60]}" for paragraph in text.split("\n\n") if paragraph.count('"') % 2]
    sentences = [sentence for sentence in re.split(r"(?<=[.!?]) ", text) if len(sentence) > 25]
    found += [f"twice: {sentence}" for sentence in set(sentences) if sentences.count(sentence) > 1]
    return found


def check():
    """Expands every template of every plot once with a cast that fits, and reports what looks wrong."""
    rng = random.Random(1)
    beats = [(None, beat) for beat in SHARED.values()]
    beats += [(plot, step[1]) for plot in PLOTS for step in plot.steps if step and isinstance(step[1], Beat)]
    problems = set()
    templates = 0
    for plot, beat in beats:
        for worlds, _, template in beat.lines:
            for text in template.expansions():
                templates += 1
                owner = plot or next(other for other in PLOTS if worlds[0] in other.worlds)
                world = next((world for world in owner.worlds if world in worlds), None)
                if world is None:
                    problems.add(f"{beat.name}: never told: {text}")
                    continue
                fields = cast(owner, world, rng)
                opening(fields, rng)
                for names, rows in owner.sets if plot else ():
                    values = pick([values for allowed, values in rows if world in allowed], rng)
                    for name, value in zip(names, values):
                        fields[name] = value.expand(fields, rng)
                try:
                    problems.update(f"{beat.name}: {found}" for found in
                                    suspects(polished(capitalised(text.format_map(fields)))))
                except KeyError as missing:
                    problems.add(f"{beat.name}: unknown field {missing} in: {text}")
    for seed in range(20000):
        problems.update(f"story {seed}: {found}" for found in suspects(story(seed)))
    print(f"{len(PLOTS)} plots, {len(beats)} beats, {templates} sentence forms, {len(problems)} problems")
    for problem in sorted(problems)[:80]:
        print(" ", problem)
    return not problems


if __name__ == "__main__":
    raise SystemExit(0 if check() else 1)
