"""Turns seeds into packed token ids, on all processor cores. Imports no torch, so that worker processes start fast."""

import os

import numpy

from stories import fingerprint, stories

BEGIN = "<|begin_of_text|>"
END = "<|end_of_text|>"
SPECIAL_TOKENS = (BEGIN, END)

# How Llama 3 cuts text into words before byte-pair merging.
SPLIT_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                 r"|\s*[\r\n]+|\s+(?!\S)|\s+")

_tokenizer = None


def train_tokenizer(texts, vocabulary):
    """A byte-level BPE tokenizer of `vocabulary` tokens, the special ones last, that puts BEGIN in front of a text."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(SPECIAL_TOKENS), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer=trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B:1", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))])
    return tokenizer


def start_worker():
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def make_texts(shard):
    first_seed, count = shard
    return list(stories(first_seed, count))


def encode_shard(job):
    """Ids of the stories of a shard, each between BEGIN and END, with their lengths, word counts and fingerprints."""
    global _tokenizer
    tokenizer_json, first_seed, count = job
    if _tokenizer is None:
        from tokenizers import Tokenizer
        _tokenizer = Tokenizer.from_str(tokenizer_json)
    begin, end = (_tokenizer.token_to_id(token) for token in SPECIAL_TOKENS)
    texts = make_texts((first_seed, count))
    ids, lengths = [], []
    for encoding in _tokenizer.encode_batch(texts, add_special_tokens=False):
        story_ids = encoding.ids
        ids.append(begin)
        ids.extend(story_ids)
        ids.append(end)
        lengths.append(len(story_ids) + 2)
    return (numpy.array(ids, dtype=numpy.int16), numpy.array(lengths, dtype=numpy.int32),
            sum(text.count(" ") + text.count("\n\n") + 1 for text in texts),
            numpy.array([fingerprint(text) for text in texts], dtype=numpy.uint64))


def shards(first_seed, count, size):
    return [(seed, min(size, first_seed + count - seed)) for seed in range(first_seed, first_seed + count, size)]


class Corpus:
    """Stories one after another as token ids, with the position where each begins."""

    def __init__(self, encoded):
        self.ids = numpy.concatenate([ids for ids, _, _, _ in encoded])
        lengths = numpy.concatenate([lengths for _, lengths, _, _ in encoded]).astype(numpy.int64)
        self.starts = numpy.concatenate([[0], numpy.cumsum(lengths)[:-1]])
        self.words = sum(words for _, _, words, _ in encoded)
        self.stories = len(lengths)
        self.longest = int(lengths.max())
        self.fingerprints = numpy.concatenate([marks for _, _, _, marks in encoded])
        self.different = len(numpy.unique(self.fingerprints))

    def row_starts(self, row_length, unlike=None):
        """Where a row of `row_length` ids can begin with a story that the corpus `unlike` does not contain."""
        fits = self.starts + row_length <= len(self.ids)
        if unlike is not None:
            fits &= ~numpy.isin(self.fingerprints, unlike.fingerprints)
        return self.starts[fits]
