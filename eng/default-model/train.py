#!/usr/bin/env python3
"""Makes the default model: corpus, tokenizer, training, checkpoint, expected tokens and model card, in one run.

    python3 eng/default-model/train.py --smoke --output OUT          a tiny run of every step, also without a GPU
    python3 eng/default-model/train.py --minutes 4.5 --output OUT    the real one, on one GPU
"""

import argparse
import json
import math
import multiprocessing
import os
import platform
import sys
import time
import traceback
from pathlib import Path

MAX_WEIGHT_BYTES = 10_000_000
FINISH_SECONDS = 55         # kept back for saving, checking and the model card
VALIDATION_SEED = 1_000_000_000
TOKENIZER_STORIES = 32_000

REAL = dict(stories=600_000, vocabulary=3072, hidden=256, intermediate=512, layers=7, heads=8, kv_heads=4, context=1024,
            batch=64, learning_rate=2e-3, warmup=150, validation=400, shard=2_500, report=100, steps=None)
SMOKE = dict(stories=600, vocabulary=768, hidden=64, intermediate=128, layers=2, heads=4, kv_heads=2, context=512,
             batch=4, learning_rate=2e-3, warmup=5, validation=40, shard=100, report=10, steps=30)

STARTED = time.perf_counter()


def elapsed():
    return time.perf_counter() - STARTED


def say(text):
    print(f"[{elapsed():6.1f} s] {text}", flush=True)


def model_config(settings, tokenizer):
    from corpus import BEGIN, END

    rows = -(-tokenizer.get_vocab_size() // 64) * 64
    return dict(
        vocab_size=rows, hidden_size=settings["hidden"], intermediate_size=settings["intermediate"],
        num_hidden_layers=settings["layers"], num_attention_heads=settings["heads"],
        num_key_value_heads=settings["kv_heads"], max_position_embeddings=settings["context"], rms_norm_eps=1e-5,
        rope_theta=10000.0, bos_token_id=tokenizer.token_to_id(BEGIN), eos_token_id=tokenizer.token_to_id(END))


def hugging_face_model(config, weights):
    """transformers' own Llama with these weights, in F32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {name: value for name, value in config.items() if name != "rope_theta"}
    model = LlamaForCausalLM(LlamaConfig(
        **shape, rope_parameters={"rope_type": "default", "rope_theta": config["rope_theta"]}, tie_word_embeddings=True,
        hidden_act="silu", attention_bias=False, mlp_bias=False))
    model.float().load_state_dict(weights, strict=True)
    return model.eval()


def assert_same_function(model, config):
    """The trained architecture must be what transformers (and so every loader) computes from the same weights."""
    import torch

    ids = torch.randint(0, config["vocab_size"], (2, 40), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        reference = hugging_face_model(config, model.hugging_face_weights())(ids).logits
        device = next(model.parameters()).device
        own = model(ids.to(device)).float().cpu()
    difference = (own - reference).abs().max().item()
    largest = reference.abs().max().item()
    say(f"logits differ from transformers' by {difference:.2e}; the largest is {largest:.3f}")
    if not difference <= 5e-3 * max(largest, 1.0):
        raise AssertionError(f"model.py and transformers disagree by {difference}")


class Trainer:
    def __init__(self, settings, config, device):
        import torch
        from model import StoryModel

        self.torch, self.settings, self.config, self.device = torch, settings, config, device
        torch.manual_seed(1)
        self.model = StoryModel(config)
        assert_same_function(self.model, config)
        self.model.to(device)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        assert self.parameters * 2 <= MAX_WEIGHT_BYTES - 64_000, f"{self.parameters} parameters are too many"
        say(f"{self.parameters:,} parameters")
        matrices = [parameter for parameter in self.model.parameters() if parameter.dim() == 2]
        vectors = [parameter for parameter in self.model.parameters() if parameter.dim() != 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
            lr=settings["learning_rate"], betas=(0.9, 0.95), eps=1e-8, **({"fused": True} if device == "cuda" else {}))
        self.loss_of = self.model
        self.warm_up()

    def warm_up(self):
        """Compiles the model where that works; otherwise trains it as it is."""
        if self.device != "cuda":
            return
        torch, settings = self.torch, self.settings
        ids = torch.randint(0, self.config["vocab_size"], (settings["batch"], settings["context"]), device=self.device)
        try:
            self.loss_of = torch.compile(self.model)
            for _ in range(2):
                self.loss(ids, ids).backward()
            torch.cuda.synchronize()
            say("compiled")
        except Exception:
            traceback.print_exc()
            say("torch.compile failed; training without it")
            self.loss_of = self.model
        self.optimizer.zero_grad(set_to_none=True)

    def loss(self, ids, targets):
        with self.torch.autocast(device_type=self.device, dtype=self.torch.bfloat16):
            return self.loss_of(ids, targets)

    def load(self, train, validation):
        torch, row = self.torch, self.settings["context"] + 1
        self.span = torch.arange(row, device=self.device)
        self.train_ids = torch.from_numpy(train.ids).to(self.device)
        self.train_starts = torch.from_numpy(train.row_starts(row)).to(self.device)
        self.validation_ids = torch.from_numpy(validation.ids).to(self.device)
        self.validation_starts = torch.from_numpy(validation.row_starts(row, unlike=train)).to(self.device)
        batch = self.settings["batch"]
        assert len(self.train_starts) >= batch and len(self.validation_starts) >= batch, "too few stories for one batch"

    def rows(self, ids, starts):
        tokens = ids[starts[:, None] + self.span].long()
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    def validation_loss(self):
        """Mean over whole batches. Gradients stay on, for another mode would be compiled anew."""
        batch = self.settings["batch"]
        count = min(4, len(self.validation_starts) // batch)
        losses = [self.loss(*self.rows(self.validation_ids, self.validation_starts[at * batch:(at + 1) * batch]))
                  .detach().float().item() for at in range(count)]
        return sum(losses) / len(losses)

    def train(self, until, checkpoint):
        """Trains until the clock says so; the learning rate follows a cosine over that time."""
        torch, settings = self.torch, self.settings
        started, batch, step, order, at = elapsed(), settings["batch"], 0, None, 0
        total_loss, counted, scale, saved = 0.0, 0, 1.0, False
        good = self.model.hugging_face_weights()
        report_time, report_step = started, 0
        while True:
            done = (elapsed() - started) / max(until - started, 1e-9)
            if settings["steps"]:
                done = max(done, step / settings["steps"])
            if done >= 1.0:
                break
            if order is None or at + batch > len(order):
                order, at = torch.randperm(len(self.train_starts), device=self.device), 0
            ids, targets = self.rows(self.train_ids, self.train_starts[order[at:at + batch]])
            at += batch
            rate = settings["learning_rate"] * scale * min(1.0, (step + 1) / settings["warmup"])
            rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = self.loss(ids, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            step += 1
            if step % 10 == 0:
                value = loss.item()
                total_loss, counted = total_loss + value, counted + 1
                if not math.isfinite(value):
                    scale *= 0.5
                    self.restore(good)
                    say(f"step {step}: the loss is not finite; back to the last good weights at half the rate")
                    total_loss, counted = 0.0, 0
            if step % settings["report"] == 0:
                seconds = elapsed() - report_time
                speed = (step - report_step) * batch * settings["context"] / max(seconds, 1e-9)
                line = f"step {step}, {done:4.0%}: train {total_loss / max(counted, 1):.4f}"
                line += f", rate {rate:.2e}, {speed / 1e6:.2f} M tokens/s"
                if step % (5 * settings["report"]) == 0:
                    validation = self.validation_loss()
                    line += f", validation {validation:.4f}"
                    if math.isfinite(validation):
                        good = self.model.hugging_face_weights()
                say(line)
                self.last_train_loss = total_loss / max(counted, 1)
                total_loss, counted, report_time, report_step = 0.0, 0, elapsed(), step
            if not saved and done > 0.5:
                saved = True
                checkpoint()
        if not all(torch.isfinite(parameter).all().item() for parameter in self.model.parameters()):
            self.restore(good)
        self.seconds, self.steps = elapsed() - started, step
        self.tokens = step * batch * settings["context"]

    def restore(self, weights):
        self.model.load_state_dict({name: tensor for name, tensor in weights.items() if name != "lm_head.weight"})

    def round_to_bfloat16(self):
        with self.torch.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(parameter.bfloat16().float())


def save_model(weights, config, folder):
    """config.json, generation_config.json and model.safetensors, in BF16."""
    import torch
    from transformers import GenerationConfig

    model = hugging_face_model(config, weights).to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    model.generation_config = GenerationConfig(
        bos_token_id=config["bos_token_id"], eos_token_id=config["eos_token_id"], do_sample=True, temperature=0.8,
        top_p=0.95)
    model.save_pretrained(folder)
    described = json.loads((folder / "config.json").read_text())
    assert described.get("dtype", described.get("torch_dtype")) == "bfloat16", f"dtype in config.json: {described}"
    assert described.get("tie_word_embeddings") is True, "config.json does not tie the word embeddings"
    size = (folder / "model.safetensors").stat().st_size
    say(f"model.safetensors: {size:,} bytes")
    assert size <= MAX_WEIGHT_BYTES, f"model.safetensors has {size} bytes, more than {MAX_WEIGHT_BYTES}"


def save_tokenizer(tokenizer, config, folder):
    """tokenizer.json exactly as trained, and tokenizer_config.json."""
    from corpus import BEGIN, END
    from tokenizers import Tokenizer

    try:
        from transformers import PreTrainedTokenizerFast
        PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(tokenizer.to_str()), bos_token=BEGIN, eos_token=END,
            clean_up_tokenization_spaces=False, model_max_length=config["max_position_embeddings"]).save_pretrained(folder)
    except Exception:
        traceback.print_exc()
        (folder / "tokenizer_config.json").write_text(json.dumps(dict(
            bos_token=BEGIN, eos_token=END, clean_up_tokenization_spaces=False,
            model_max_length=config["max_position_embeddings"], tokenizer_class="PreTrainedTokenizerFast"), indent=2) + "\n")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)


def make_corpus(settings, workers):
    """The tokenizer, and a function that waits for the encoded training and validation stories."""
    from corpus import Corpus, encode_shard, make_texts, shards, start_worker, train_tokenizer

    pool = multiprocessing.get_context("spawn").Pool(workers, initializer=start_worker)
    sample = min(TOKENIZER_STORIES, settings["stories"])
    parts = pool.map(make_texts, shards(0, sample, max(1, min(settings["shard"], sample // workers))))
    texts = [text for part in parts for text in part]
    say(f"{len(texts):,} stories for the tokenizer")
    tokenizer = train_tokenizer(texts, settings["vocabulary"])
    say(f"tokenizer: {tokenizer.get_vocab_size()} tokens; "
        f"{len(tokenizer.encode(texts[0]).ids)} for the {len(texts[0].split())} words of the first story")
    serialized = tokenizer.to_str()
    jobs = [(serialized, *shard) for shard in shards(0, settings["stories"], settings["shard"])]
    jobs += [(serialized, VALIDATION_SEED, settings["validation"])]
    pending = pool.map_async(encode_shard, jobs, chunksize=1)

    def wait():
        encoded = pending.get()
        pool.close()
        pool.join()
        return Corpus(encoded[:-1]), Corpus(encoded[-1:])

    return tokenizer, wait


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--minutes", type=float, default=4.5, help="limit for the whole run")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that every step works")
    parser.add_argument("--stories", type=int, help="stories in the corpus")
    parser.add_argument("--workers", type=int, default=max(1, min(16, (os.cpu_count() or 2) - 1)))
    arguments = parser.parse_args()
    settings = dict(SMOKE if arguments.smoke else REAL)
    if arguments.stories:
        settings["stories"] = arguments.stories
    deadline = arguments.minutes * 60
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)

    tokenizer, wait_for_corpus = make_corpus(settings, arguments.workers)
    import torch
    import transformers

    device = "cuda" if torch.cuda.is_available() else "cpu"
    device_name = torch.cuda.get_device_name(0) if device == "cuda" else platform.processor() or "CPU"
    say(f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}, "
        f"{device_name}")
    config = model_config(settings, tokenizer)
    save_tokenizer(tokenizer, config, folder)
    trainer = Trainer(settings, config, device)
    train, validation = wait_for_corpus()
    say(f"corpus: {train.stories:,} stories, {train.different:,} different, {train.words:,} words, "
        f"{len(train.ids):,} tokens, longest story {train.longest} tokens")
    trainer.load(train, validation)

    def checkpoint():
        try:
            save_model(trainer.model.hugging_face_weights(), config, folder)
        except Exception:
            traceback.print_exc()

    trainer.train(deadline - min(FINISH_SECONDS, deadline / 3), checkpoint)
    trainer.round_to_bfloat16()
    weights = trainer.model.hugging_face_weights()
    save_model(weights, config, folder)
    validation_loss = trainer.validation_loss()
    say(f"{trainer.steps} steps, {trainer.tokens:,} tokens in {trainer.seconds:.0f} s; "
        f"validation loss of the rounded weights {validation_loss:.4f}")
    assert_same_function(trainer.model, config)

    results = dict(
        stories=train.stories, different=train.different, words=train.words, corpus_tokens=len(train.ids),
        longest=train.longest, parameters=trainer.parameters, config=config, steps=trainer.steps, tokens=trainer.tokens,
        training_seconds=trainer.seconds, batch_tokens=settings["batch"] * settings["context"],
        train_loss=getattr(trainer, "last_train_loss", float("nan")), validation_loss=validation_loss,
        learning_rate=settings["learning_rate"], device=device_name, torch=torch.__version__,
        transformers=transformers.__version__, weight_bytes=(folder / "model.safetensors").stat().st_size)
    try:
        from check import check
        results["run_seconds"] = elapsed()
        seconds = 12.0 if arguments.smoke else max(10.0, deadline - elapsed() - 3)
        check(folder, results, seconds, needed=2 if arguments.smoke else 12)
    except Exception:
        traceback.print_exc()
        say("the model is saved, but its check failed: run check.py on the folder")
        sys.exit(2)
    say("done: " + ", ".join(sorted(path.name for path in folder.iterdir())))


if __name__ == "__main__":
    main()
