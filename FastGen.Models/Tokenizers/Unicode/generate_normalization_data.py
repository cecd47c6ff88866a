"""Writes normalization.bin, the data of UnicodeNormalizer, from Python's own Unicode database.

Hugging Face's tokenizers normalise by Unicode 9.0, so run this with a Python whose unicodedata has that version
(Python 3.6): characters that later versions made marks or gave a decomposition must stay as they are.

Layout, all numbers as unsigned LEB128:
  combining classes:  count, then (code point delta, class) in order of code points
  canonical mappings: count, then (code point delta, length, code points...), fully decomposed
  compatible mappings: the same, only where they differ from the canonical ones
  compositions:       count, then (first, second, composite)
  marks:              count, then (start delta, length) of the ranges with general category M
Hangul is arithmetic and not in the tables.
"""
import os
import sys
import unicodedata as u

VERSION = "9.0.0"
HANGUL = range(0xAC00, 0xAC00 + 11172)
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and c not in HANGUL]


def leb128(value, out):
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def deltas(rows, out):
    leb128(len(rows), out)
    previous = 0
    for first, *rest in rows:
        leb128(first - previous, out)
        previous = first
        for value in rest:
            leb128(value, out)


def mapping(form, c):
    return [ord(x) for x in u.normalize(form, chr(c))]


def mark_ranges():
    ranges = []
    for c in CODE_POINTS:
        if u.category(chr(c))[0] != "M":
            continue
        if ranges and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    return [(first, last - first + 1) for first, last in ranges]


def main():
    if u.unidata_version != VERSION:
        sys.exit(f"unicodedata {VERSION} is needed, this Python has {u.unidata_version}")
    canonical = {c: mapping("NFD", c) for c in CODE_POINTS if mapping("NFD", c) != [c]}
    compatible = {c: mapping("NFKD", c) for c in CODE_POINTS if mapping("NFKD", c) not in ([c], canonical.get(c))}
    compositions = []
    for c in CODE_POINTS:
        pair = [int(x, 16) for x in u.decomposition(chr(c)).split()] if "<" not in u.decomposition(chr(c)) else []
        if len(pair) == 2 and u.normalize("NFC", chr(c)) == chr(c):
            compositions.append((*pair, c))

    out = bytearray()
    deltas([(c, u.combining(chr(c))) for c in CODE_POINTS if u.combining(chr(c))], out)
    deltas([(c, len(m), *m) for c, m in canonical.items()], out)
    deltas([(c, len(m), *m) for c, m in compatible.items()], out)
    leb128(len(compositions), out)
    for row in compositions:
        for value in row:
            leb128(value, out)
    deltas(mark_ranges(), out)
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "normalization.bin"), "wb") as file:
        file.write(out)
    print(len(out), "bytes")


main()
