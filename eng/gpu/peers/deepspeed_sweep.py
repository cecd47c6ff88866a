"""DeepSpeed-FastGen (DeepSpeed inference v2 under DeepSpeed-MII's pipeline, in process), weights made on the device, token ids in and out: closed loops of clients.

usage: deepspeed_sweep.py LOADS RESULTS [--shape NAME] [--limit SECONDS] [--budget TOKENS] [--skip-logit-processors]

MII runs its top-p filter, a sort of the whole vocabulary, at every step, for greedy requests too; --skip-logit-processors leaves it out, which
changes no greedy result. MII's scheduler (dynamic SplitFuse) and its loop, MIIPipeline.generate(), run as they are. The default budget of
its engine is 768 tokens.
"""
import os
import queue
import sys
import tempfile
import time
from collections import deque

os.environ.setdefault("DS_ACCELERATOR", "cuda")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import sweep

CACHE_BLOCKS = 4096  # of 64 tokens


def weights(shape):
    """Names and sizes of a Llama checkpoint's tensors."""
    hidden, mlp, vocabulary = shape["hidden_size"], shape["intermediate_size"], shape["vocab_size"]
    key_value = shape["num_key_value_heads"] * (hidden // shape["num_attention_heads"])
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (vocabulary, hidden)
    for layer in range(shape["num_hidden_layers"]):
        for name, size in (("self_attn.q_proj", (hidden, hidden)), ("self_attn.k_proj", (key_value, hidden)), ("self_attn.v_proj", (key_value, hidden)),
                           ("self_attn.o_proj", (hidden, hidden)), ("mlp.gate_proj", (mlp, hidden)), ("mlp.up_proj", (mlp, hidden)),
                           ("mlp.down_proj", (hidden, mlp)), ("input_layernorm", (hidden,)), ("post_attention_layernorm", (hidden,))):
            yield f"model.layers.{layer}.{name}.weight", size


def use_random_weights(shape):
    """Has DeepSpeed read a checkpoint that exists nowhere: each tensor is made on the device as it is asked for."""
    import torch
    from deepspeed.inference.v2.checkpoint import huggingface_engine

    def parameters(_):
        generator = torch.Generator(device="cuda:0").manual_seed(0)
        for name, size in weights(shape):
            tensor = torch.ones(size, dtype=torch.bfloat16, device="cuda:0")
            yield name, tensor if len(size) == 1 else tensor.normal_(0, 0.02, generator=generator)

    huggingface_engine.HuggingFaceCheckpointEngine.parameters = parameters
    huggingface_engine.HuggingFaceCheckpointEngine._fetch_checkpoint_files = lambda _: []


def identity_tokenizer(shape):
    import torch
    from mii.modeling.tokenizers import MIITokenizerWrapper

    class Identity(MIITokenizerWrapper):
        vocab_size, eos_token_id = shape["vocab_size"], shape["eos_token_id"]

        def __init__(self):
            super().__init__(None)

        def __len__(self):
            return self.vocab_size

        def encode(self, ids, return_tensors=None):
            return torch.as_tensor(ids, dtype=torch.int64)

        def decode(self, ids):
            return ids

        def convert_tokens_to_ids(self, _):
            return 0

    return Identity()


def make_pipeline(shape_name, budget):
    import mii
    shape = sweep.SHAPES[shape_name]
    use_random_weights(shape)
    return mii.pipeline(sweep.write_config(tempfile.mkdtemp(), shape_name), tokenizer=identity_tokenizer(shape), max_length=shape["max_position_embeddings"],
                        inference_engine_config={"state_manager": {
                            "max_ragged_batch_size": budget, "max_ragged_sequence_count": 512, "max_tracked_sequences": 1024,
                            "max_context": shape["max_position_embeddings"], "memory_config": {"mode": "allocate", "size": CACHE_BLOCKS}}})


def run(pipeline, load, vocabulary):
    """MIIPipeline's own loop, but each answer is followed by its client's next request, and every token is timed (streamed)."""
    requests = sweep.requests_of(load)
    prompts = [pipeline.tokenizer.encode(sweep.prompt_ids(load, i, vocabulary)) for i in range(len(requests))]
    answers = pipeline.result_queues[pipeline.tid] = queue.Queue()
    waiting, open_requests = deque(range(len(requests))), 0

    def send():
        nonlocal open_requests
        if not waiting:
            return
        i = waiting.popleft()
        request = requests[i]
        request.sent = time.perf_counter()
        open_requests += 1
        pipeline.request_queue.put(pipeline.make_request(pipeline.tid, i, prompts[i], dict(
            max_new_tokens=request.output_tokens, max_length=request.prompt_tokens + request.output_tokens, do_sample=False, ignore_eos=True, stream=True)))

    for _ in range(load["clients"]):
        send()
    while open_requests:
        pipeline.generate()
        now = time.perf_counter()
        while not answers.empty():
            i, tokens, _, _, reason, _ = answers.get_nowait()
            requests[i].times += [now] * len(tokens)
            if str(reason).rsplit(".", 1)[-1].upper() != "NONE":
                pipeline._queue_flush_request(i)
                open_requests -= 1
                send()
    for _ in range(20):
        if pipeline.request_queue.empty() and not pipeline.scheduled_requests.requests and not pipeline.buffer:
            break
        pipeline.generate()
    return requests


def clean_up(pipeline):
    pipeline.request_queue, pipeline.buffer = queue.Queue(), deque()
    pipeline._reset_scheduler_bookkeeping()
    for uid in list(pipeline.inference_engine._state_manager.tracked_sequences.keys()):
        pipeline.inference_engine.flush(uid)


def main():
    skip = "--skip-logit-processors" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--skip-logit-processors"]
    options = sweep.arguments(__doc__)
    import deepspeed
    import mii
    vocabulary, budget = sweep.SHAPES[options.shape]["vocab_size"], options.budget or 768
    results = sweep.Results(options.results, f"DeepSpeed-FastGen {deepspeed.__version__.strip()}", options.shape, options.limit, mii=mii.__version__.strip(), budget=budget, logit_processors=not skip)
    pipeline = make_pipeline(options.shape, budget)
    if skip:
        pipeline.logit_processor = lambda logits, requests, processors: logits
    run(pipeline, dict(workload="warm", clients=8, seed=9, requests=[[300, 8]] * 16), vocabulary)
    for load in sweep.loads(options.loads):
        if not results.has_time_for(load):
            continue
        try:
            results.add(sweep.summarize(load, run(pipeline, load, vocabulary)))
        except Exception as error:
            results.failed(load, error)
            clean_up(pipeline)
    sys.stdout.flush()
    os._exit(0)  # without the teardown of its sockets, which can wait for ever


if __name__ == "__main__":
    main()
