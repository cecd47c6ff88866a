#!/usr/bin/env python3
"""Reloads a saved default model with transformers in F32 arithmetic; writes expected.json, and train.py's model card.

    python3 eng/default-model/check.py OUT
"""

import argparse
import json
import time
import traceback
from pathlib import Path

from card import card
from corpus import BEGIN
from stories import pick, story

GREEDY_TOKENS = 48
LEAST_GAP = 0.01
SAMPLE_TOKENS = 420
PROMPT_SEED = 2_000_000_000

PROMPTS = [
    "Once upon a time", "The little fox", "One rainy morning", "Mia", "There was once a", "Tom and his friend",
    "It was a windy day", "Deep in the forest", "A little rabbit named Pip", "In a small village by the sea",
    "Once upon a time, there was a young princess", "\"Good morning,", "Long ago", "One foggy afternoon, Nora",
    "The small mouse", "Everyone in the village knew", "Lily lived on a farm", "It was a snowy morning",
    "Far away, beyond the blue hills,", "Leo was a curious boy", "On a sunny morning, the bear", "Near a quiet pond",
    "There once was a little girl called Ruby", "\"What a", "A young wizard", "Once upon a time, a little hedgehog",
]
SAMPLE_PROMPTS = ["Once upon a time", "The little fox", "One rainy morning", "Mia"]
GREEDY_PROMPTS = ["Once upon a time", "Deep in the forest"]


def candidates():
    """Prompts to try: the fixed ones, then beginnings of stories outside the corpus."""
    import random

    yield from PROMPTS
    rng = random.Random(5)
    for seed in range(PROMPT_SEED, PROMPT_SEED + 400):
        words = story(seed).split(" ")
        yield " ".join(words[:pick((3, 5, 8, 12, 20, 30), rng)])


def greedy_path(model, prompt, end):
    """The ids that follow greedily and the smallest gap between the two best logits; None where it is not decided."""
    import torch

    ids, smallest = list(prompt), float("inf")
    for _ in range(GREEDY_TOKENS):
        best = model(torch.tensor([ids]), use_cache=False).logits[0, -1].float().topk(2)
        smallest = min(smallest, (best.values[0] - best.values[1]).item())
        following = int(best.indices[0])
        if smallest < LEAST_GAP or following == end:
            return None
        ids.append(following)
    return ids[len(prompt):], smallest


def expected_cases(model, tokenizer, end, needed, seconds):
    started, cases = time.perf_counter(), []
    for text in candidates():
        spent = time.perf_counter() - started
        if len(cases) == needed or spent > seconds or len(cases) >= 6 and spent > seconds * 0.7:
            break
        prompt = tokenizer.encode(text).ids
        path = greedy_path(model, prompt, end)
        if path is not None:
            cases.append(dict(text=text, prompt=prompt, greedy=path[0], min_top2_gap=path[1],
                              greedy_text=tokenizer.decode(path[0])))
    return cases


def continued(model, tokenizer, text, end, sampled):
    import torch

    ids = torch.tensor([tokenizer.encode(text).ids])
    options = dict(do_sample=True, temperature=0.8, top_p=0.95, top_k=0) if sampled else dict(do_sample=False)
    new = min(SAMPLE_TOKENS, model.config.max_position_embeddings - ids.shape[1])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, eos_token_id=end,
                         pad_token_id=end, **options)
    return tokenizer.decode(out[0].tolist())


def check(folder, results, seconds, needed):
    import torch
    import transformers
    from tokenizers import Tokenizer

    started = time.perf_counter()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    torch.manual_seed(11)
    with torch.no_grad():
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager").eval()
        end = model.config.eos_token_id
        assert tokenizer.encode("Once").ids[0] == tokenizer.token_to_id(BEGIN) == model.config.bos_token_id
        try:
            through_transformers = transformers.AutoTokenizer.from_pretrained(folder)("Once upon a time")["input_ids"]
            if list(through_transformers) != tokenizer.encode("Once upon a time").ids:
                print(f"note: AutoTokenizer gives {through_transformers}", flush=True)
        except Exception:
            traceback.print_exc()
        cases = expected_cases(model, tokenizer, end, needed, seconds * 0.6)
        (folder / "expected.json").write_text(json.dumps(
            dict(transformers=transformers.__version__, torch=torch.__version__, cases=cases), indent=1) + "\n")
        print(f"expected.json: {len(cases)} cases", flush=True)
        samples = []
        for sampled, prompts in ((True, SAMPLE_PROMPTS), (False, GREEDY_PROMPTS)):
            for text in prompts:
                if time.perf_counter() - started > seconds * 0.9:
                    print("out of time for more samples", flush=True)
                    break
                try:
                    samples.append((sampled, text, continued(model, tokenizer, text, end, sampled)))
                    print(f"--- {'sampled' if sampled else 'greedy'}: {samples[-1][2]}", flush=True)
                except Exception:
                    traceback.print_exc()
    if results:
        (folder / "README.md").write_text(card(results, samples), encoding="utf-8")
    assert results.get("parameters", 0) < 1_000_000 or len(cases) >= 6, f"only {len(cases)} prompts are decided"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    check(arguments.folder, {}, arguments.seconds, needed=12)


if __name__ == "__main__":
    main()
