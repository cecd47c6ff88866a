"""vLLM in process (AsyncLLM, token ids in and out), dummy weights: closed loops of clients.

usage: vllm_sweep.py LOADS RESULTS [--shape NAME] [--limit SECONDS] [--budget TOKENS] [--context TOKENS] [--offline [--decodes A,B,...]]
"""
import asyncio
import os
import tempfile
import time

os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import sweep


async def run(engine, load, vocabulary, tag):
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind
    requests, indices = sweep.requests_of(load), iter(range(len(load["requests"])))
    prompts = [sweep.prompt_ids(load, i, vocabulary) for i in range(len(requests))]

    async def client():
        for i in indices:
            request = requests[i]
            params = SamplingParams(temperature=0.0, max_tokens=request.output_tokens, ignore_eos=True, detokenize=False, output_kind=RequestOutputKind.DELTA)
            request.sent = time.perf_counter()
            async for output in engine.generate({"prompt_token_ids": prompts[i]}, params, f"{tag}-{i}"):
                request.times += [time.perf_counter()] * len(output.outputs[0].token_ids)

    await asyncio.gather(*[client() for _ in range(load["clients"])])
    return requests


async def offline(engine, results, vocabulary, longest, decodes):
    """Decodes, prompts and requests that come at once: the best of a few, as FastGen.Benchmarks' --offline takes them."""
    async def best(times, count, prompt, output, rate):
        return max([rate(await run(engine, sweep.batch(count, prompt, output, 1 + i), vocabulary, f"o{count}-{prompt}-{output}-{i}")) for i in range(times)])

    for count, context in ((1, 512), (8, 512), (32, 512), (64, 512), (128, 512), (64, 1024), (32, 4000)):
        if context + 128 > longest or (decodes and count not in decodes):
            continue
        results.add(dict(kind="decode", batch=count, context=context, tok_s=await best(2, count, context, 128, sweep.decode_rate)))
    for count, tokens in ((1, 512), (1, 2048), (16, 2048), (64, 512), (4, 8000)):
        if tokens > longest:
            continue
        tokens = min(tokens, longest - 8)
        results.add(dict(kind="prompt", prompts=count, tokens=tokens, tok_s=await best(3, count, tokens, 1, lambda requests: count * tokens / sweep.elapsed(requests))))
    results.add(dict(kind="offline", requests=128, n_in=600, tok_s=await best(2, 128, 600, 128, lambda requests: 128 * 128 / sweep.elapsed(requests))))


async def main():
    options = sweep.arguments(__doc__)
    import vllm
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM
    shape = sweep.SHAPES[options.shape]
    longest = min(shape["max_position_embeddings"], options.context)
    results = sweep.Results(options.results, f"vLLM {vllm.__version__}", options.shape, options.limit)
    further = {} if options.budget is None else dict(max_num_batched_tokens=options.budget)
    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(
        model=sweep.write_config(tempfile.mkdtemp(), options.shape), load_format="dummy", skip_tokenizer_init=True, dtype="bfloat16",
        enable_prefix_caching=False, disable_log_stats=True, max_model_len=longest, gpu_memory_utilization=0.9, **further))
    try:
        await run(engine, dict(workload="warm", clients=32, seed=9, requests=[[512, 16]] * 64), shape["vocab_size"], "warm")
        for number, load in enumerate(sweep.loads(options.loads)):
            if not results.has_time_for(load):
                continue
            try:
                results.add(sweep.summarize(load, await run(engine, load, shape["vocab_size"], str(number))))
            except Exception as error:
                results.failed(load, error)
        if options.offline:
            await offline(engine, results, shape["vocab_size"], longest, options.decodes)
    finally:
        engine.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
