"""Hugging Face transformers' continuous batching (model.init_continuous_batching), random weights made on the device, token ids in and out: closed loops of clients.

usage: transformers_sweep.py LOADS RESULTS [--shape NAME] [--limit SECONDS] [--budget TOKENS] [--attention NAME]

Times of tokens are those that the library records itself. --attention: sdpa, or where its package is installed flash_attention_2.
"""
import inspect
import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import sweep

LONGEST_SILENCE = 120


def make_model(shape_name, attention):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    shape = {key: value for key, value in sweep.SHAPES[shape_name].items() if key not in ("architectures", "model_type", "torch_dtype", "dtype")}
    config = LlamaConfig(**shape)
    config._attn_implementation = attention
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)
    return model.eval()


def make_manager(model, budget):
    from transformers import GenerationConfig
    generation = GenerationConfig(do_sample=False, max_new_tokens=16, eos_token_id=-1, pad_token_id=0)
    details = {}
    try:
        from transformers.generation.configuration_utils import ContinuousBatchingConfig
        if budget is not None and "max_batch_tokens" in inspect.signature(ContinuousBatchingConfig).parameters:
            details["continuous_batching_config"] = ContinuousBatchingConfig(max_batch_tokens=budget)
    except ImportError:
        pass
    return model.init_continuous_batching(generation_config=generation, **details)


def run(manager, load, vocabulary, tag):
    """A new request for each that ends; the manager works in a thread of its own."""
    requests = sweep.requests_of(load)
    prompts = [sweep.prompt_ids(load, i, vocabulary) for i in range(len(requests))]
    sent = 0

    def send():
        nonlocal sent
        if sent == len(requests):
            return
        i, sent = sent, sent + 1
        requests[i].sent = time.perf_counter()
        manager.add_request(prompts[i], request_id=f"{tag}-{i}", max_new_tokens=requests[i].output_tokens, record_timestamps=True, eos_token_id=-1)

    for _ in range(load["clients"]):
        send()
    if not manager.is_running():
        manager.start()
    done, last = 0, time.monotonic()
    while done < len(requests):
        result = manager.get_result(timeout=1)
        if result is None:
            if not manager.is_running() or time.monotonic() - last > LONGEST_SILENCE:
                raise RuntimeError(f"nothing came for a while after {done} of {len(requests)} requests; the manager {'runs' if manager.is_running() else 'has ended'}")
            continue
        if getattr(result, "error", None):
            raise RuntimeError(result.error)
        if not result.is_finished() or not result.request_id.startswith(tag + "-"):
            continue
        last = time.monotonic()
        request = requests[int(result.request_id.rsplit("-", 1)[1])]
        # Older versions record none: then all tokens count as come at the end.
        request.times = list(result.timestamps or [time.perf_counter()] * request.output_tokens)[:request.output_tokens]
        done += 1
        send()
    return requests


def main():
    attention = "sdpa"
    if "--attention" in sys.argv:
        at = sys.argv.index("--attention")
        attention = sys.argv[at + 1]
        del sys.argv[at:at + 2]
    options = sweep.arguments(__doc__)
    import torch
    import transformers
    vocabulary = sweep.SHAPES[options.shape]["vocab_size"]
    results = sweep.Results(options.results, f"transformers {transformers.__version__}", options.shape, options.limit, torch=torch.__version__, attention=attention)
    model = make_model(options.shape, attention)
    with torch.inference_mode():
        manager = make_manager(model, options.budget)
        run(manager, dict(workload="warm", clients=8, seed=9, requests=[[300, 8]] * 16), vocabulary, "warm")
        for number, load in enumerate(sweep.loads(options.loads)):
            if not results.has_time_for(load):
                continue
            try:
                results.add(sweep.summarize(load, run(manager, load, vocabulary, str(number))))
            except Exception as error:
                results.failed(load, error)
                if not manager.is_running():
                    break
    sys.stdout.flush()
    os._exit(0)  # its thread may still run


if __name__ == "__main__":
    main()
