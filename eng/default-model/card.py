"""The model card, written from the figures of a run."""

from stories import PLOTS

HEADER = """---
license: apache-2.0
language: en
pipeline_tag: text-generation
library_name: transformers
---

# fastgen-stories

A small Llama that writes short stories in simple English. It is FastGen's default model: small enough to live in the
repository, real enough to show and to test generation from end to end.
"""

FIGURES = """
## Model

| | |
| --- | --- |
| architecture | Llama (`LlamaForCausalLM`), {layers} layers, hidden size {hidden}, {heads} heads, {kv_heads} key-value heads, feed-forward size {intermediate}, tied embeddings |
| parameters | {parameters:,} |
| weights | BF16, {weight_bytes:,} bytes |
| context | {context} tokens |
| tokenizer | byte-level BPE, {vocabulary} tokens, words split as in Llama 3; `<|begin_of_text|>` is put in front of a text, `<|end_of_text|>` ends a story |

## Training

| | |
| --- | --- |
| corpus | {stories:,} stories ({different:,} different), {words:,} words, {corpus_tokens:,} tokens; the longest story has {longest} tokens |
| source | the generator in `eng/default-model`: {plots} plots, a cast, a place and a weather drawn for each story; no text from elsewhere |
| training | {steps:,} steps of {batch_tokens:,} tokens ({tokens:,} in all), AdamW, peak learning rate {learning_rate}, cosine schedule, BF16 arithmetic over F32 weights |
| time | {training_seconds:.0f} s of training, {run_seconds:.0f} s with corpus and tokenizer, on one {device} |
| loss | training {train_loss:.4f}, validation {validation_loss:.4f} nats a token (stories outside the corpus, weights as saved) |
| made with | torch {torch}, transformers {transformers} |
"""

COMMANDS = """
Made by

```
python3 eng/default-model/train.py --minutes 4.5 --output models/fastgen-stories
```

`expected.json` holds prompts with the tokens that follow greedily, computed by transformers in F32 arithmetic from the
weights as saved.
"""

LIMITS = """
## Limits

It knows only the small world of its generator: friendly stories of 120 to 300 words about children and animals. It
answers no questions, follows no instructions and knows no facts. Prompts far from the beginnings shown above give poor
text. Names and pronouns usually stay consistent; sometimes they do not.

## Licence

Apache-2.0, like the rest of FastGen: generator, corpus and weights.
"""


def card(results, samples):
    """results: the figures of the run; samples: (whether sampled, prompt, text)."""
    config = results["config"]
    text = HEADER + FIGURES.format(
        plots=len(PLOTS), layers=config["num_hidden_layers"], hidden=config["hidden_size"],
        heads=config["num_attention_heads"], kv_heads=config["num_key_value_heads"],
        intermediate=config["intermediate_size"], context=config["max_position_embeddings"],
        vocabulary=config["vocab_size"], **results)
    text += COMMANDS + "\n## Samples\n"
    for sampled, prompt, story in samples:
        how = "temperature 0.8, top-p 0.95" if sampled else "greedy"
        quoted = "\n".join(f"> {line}".rstrip() for line in story.split("\n"))
        text += f"\nPrompt `{prompt}`, {how}:\n\n{quoted}\n"
    return text + LIMITS
