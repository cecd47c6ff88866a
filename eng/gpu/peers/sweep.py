"""What the peers' scripts share: the loads, closed-loop figures as FastGen.Benchmarks takes them, and result lines that `serve --mode plots` reads.

A load is a line of `FastGen.Benchmarks serve --mode lengths`: {"workload", "clients", "requests": [[prompt tokens, output tokens], ...], "seed"}.
"""
import datetime
import json
import os
import random
import subprocess
import sys
import time

SERVICE_TARGETS = ((512, 2), (512, 4), (512, 6), (4096, 30), (8192, 50))
EMA_WEIGHT = 2 / 17
SHAPES = {
    "llama3-8b": dict(architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=128256, hidden_size=4096, intermediate_size=14336,
                      num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=8192, rms_norm_eps=1e-5,
                      rope_theta=500000.0, hidden_act="silu", tie_word_embeddings=False, attention_bias=False, mlp_bias=False,
                      bos_token_id=128000, eos_token_id=128001, torch_dtype="bfloat16", dtype="bfloat16"),
    "llama3.2-1b": dict(architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=128256, hidden_size=2048, intermediate_size=8192,
                        num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, head_dim=64, max_position_embeddings=8192, rms_norm_eps=1e-5,
                        rope_theta=500000.0, hidden_act="silu", tie_word_embeddings=True, attention_bias=False, mlp_bias=False,
                        bos_token_id=128000, eos_token_id=128001, torch_dtype="bfloat16", dtype="bfloat16"),
    "qwen3-0.6b": dict(architectures=["Qwen3ForCausalLM"], model_type="qwen3", vocab_size=151936, hidden_size=1024, intermediate_size=3072,
                       num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8, head_dim=128, max_position_embeddings=40960, rms_norm_eps=1e-6,
                       rope_theta=1000000, hidden_act="silu", tie_word_embeddings=True, attention_bias=False, use_sliding_window=False,
                       bos_token_id=151643, eos_token_id=151645, torch_dtype="bfloat16", dtype="bfloat16"),
    "phi-2": dict(architectures=["PhiForCausalLM"], model_type="phi", vocab_size=51200, hidden_size=2560, intermediate_size=10240,
                  num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=32, max_position_embeddings=2048, layer_norm_eps=1e-5,
                  rope_theta=10000.0, partial_rotary_factor=0.4, qk_layernorm=False, hidden_act="gelu_new", tie_word_embeddings=False,
                  bos_token_id=50256, eos_token_id=50256, torch_dtype="bfloat16", dtype="bfloat16"),
    "mixtral-8x7b": dict(architectures=["MixtralForCausalLM"], model_type="mixtral", vocab_size=32000, hidden_size=4096, intermediate_size=14336,
                         num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=32768, rms_norm_eps=1e-5,
                         rope_theta=1000000.0, num_local_experts=8, num_experts_per_tok=2, sliding_window=None, hidden_act="silu", tie_word_embeddings=False,
                         bos_token_id=1, eos_token_id=2, torch_dtype="bfloat16", dtype="bfloat16"),
    # For trying the scripts on a small device.
    "tiny": dict(architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=1024, hidden_size=256, intermediate_size=512,
                 num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=8192, rms_norm_eps=1e-5,
                 rope_theta=500000.0, hidden_act="silu", tie_word_embeddings=False, attention_bias=False, mlp_bias=False,
                 bos_token_id=1, eos_token_id=2, torch_dtype="bfloat16", dtype="bfloat16"),
}


class Request:
    """One request: its lengths, when it was sent, and when each of its tokens came (time.perf_counter seconds)."""

    def __init__(self, prompt_tokens, output_tokens):
        self.prompt_tokens, self.output_tokens = prompt_tokens, output_tokens
        self.sent, self.times = None, []

    def meets(self, prompt_rate, token_rate):
        if self.times[0] - self.sent > self.prompt_tokens / prompt_rate:
            return False
        mean = None
        for before, after in zip(self.times, self.times[1:]):
            mean = after - before if mean is None else mean + EMA_WEIGHT * (after - before - mean)
            if mean > 1 / token_rate:
                return False
        return True


def loads(path):
    """The lines of a file of loads."""
    with open(path) as lines:
        return [json.loads(line) for line in lines if line.strip()]


def requests_of(load):
    return [Request(prompt, output) for prompt, output in load["requests"]]


def prompt_ids(load, index, vocabulary):
    """Random ids, others for each request."""
    rng = random.Random(load["seed"] * 1_000_003 + index)
    return [rng.randrange(10, vocabulary - 10) for _ in range(load["requests"][index][0])]


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def summarize(load, requests):
    """The figures of a finished load, under the names that FastGen.Benchmarks uses."""
    for request in requests:
        if len(request.times) != request.output_tokens:
            raise RuntimeError(f"a request gave {len(request.times)} of {request.output_tokens} tokens")
    elapsed = max(r.times[-1] for r in requests) - min(r.sent for r in requests)
    first = sorted(r.times[0] - r.sent for r in requests)
    between = sorted(b - a for r in requests for a, b in zip(r.times, r.times[1:]))
    latency = sum(r.times[-1] - r.sent for r in requests) / len(requests)
    a_token = [(r.times[-1] - r.times[0]) / (len(r.times) - 1) for r in requests if len(r.times) > 1]
    line = dict(kind="sweep", workload=load["workload"], clients=load["clients"], requests=len(requests), req_s=len(requests) / elapsed,
                gen_tok_s=sum(len(r.times) for r in requests) / elapsed, in_tok_s=sum(r.prompt_tokens for r in requests) / elapsed,
                latency_mean=latency, req_s_by_latency=load["clients"] / latency, tpot_mean=sum(a_token) / len(a_token) if a_token else None)
    for name, share in (("p50", .5), ("p90", .9), ("p95", .95), ("p99", .99)):
        line["ttft_" + name], line["itl_" + name] = percentile(first, share), percentile(between, share)
    for prompt_rate, token_rate in SERVICE_TARGETS:
        line[f"eff_{prompt_rate}_{token_rate}"] = sum(r.meets(prompt_rate, token_rate) for r in requests) / elapsed
    return line


def batch(count, prompt_tokens, output_tokens, seed):
    """A load of equal requests that are all there at once."""
    return dict(workload=f"{prompt_tokens},{output_tokens}", clients=count, seed=seed, requests=[[prompt_tokens, output_tokens]] * count)


def elapsed(requests):
    return max(r.times[-1] for r in requests) - min(r.sent for r in requests)


def decode_rate(requests):
    """Tokens a second while all generate: from the last one's first token to the end of the one that ends first."""
    started, ended = max(r.times[0] for r in requests), min(r.times[-1] for r in requests)
    return sum(started < time <= ended for r in requests for time in r.times) / (ended - started)


class Results:
    """Appends JSON lines to a file, each flushed as it is known, and stops before the time is up."""

    def __init__(self, path, label, model, limit, **details):
        self._file, self._end = open(path, "w"), time.monotonic() + limit
        device, _, driver = device_and_driver()
        self.add(dict(kind="run", label=label, device=device, driver=driver, model=model,
                      date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M"), python=sys.version.split()[0], **details))

    def add(self, line):
        text = json.dumps(line)
        self._file.write(text + "\n")
        self._file.flush()
        print(text, flush=True)

    def has_time_for(self, load, at_least=5):
        if time.monotonic() + at_least < self._end:
            return True
        self.add(dict(kind="skipped", workload=load["workload"], clients=load["clients"], reason="the time is up"))
        return False

    def failed(self, load, error):
        self.add(dict(kind="failed", workload=load["workload"], clients=load["clients"], error=f"{type(error).__name__}: {error}"[:500]))


def device_and_driver():
    """Name, memory and driver as nvidia-smi says them."""
    try:
        line = subprocess.run(["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"], capture_output=True, text=True, timeout=20).stdout.splitlines()[0]
        return [part.strip() for part in line.split(",")]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return "unknown", "", ""


def write_config(folder, shape):
    """A model folder with nothing but its config.json."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(SHAPES[shape], file)
    return folder


def arguments(description):
    import argparse
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("loads", help="a file of `FastGen.Benchmarks serve --mode lengths`")
    parser.add_argument("results", help="JSON lines to write")
    parser.add_argument("--shape", default="llama3-8b", choices=sorted(SHAPES))
    parser.add_argument("--limit", type=float, default=600, help="seconds after which no further load is started")
    parser.add_argument("--context", type=int, default=8192, help="tokens of the longest request, at most")
    parser.add_argument("--offline", action="store_true", help="afterwards batches that come at once (vLLM only)")
    parser.add_argument("--decodes", type=lambda text: [int(part) for part in text.split(",")], help="with --offline: decodes of these numbers of sequences only")
    parser.add_argument("--budget", type=int, default=None, help="tokens of a step; the peer's default where not given")
    return parser.parse_args()
