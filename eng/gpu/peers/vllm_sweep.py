"""vLLM in process (AsyncLLM, token ids in and out), dummy weights: closed loops of clients.

usage: vllm_sweep.py LOADS RESULTS [--shape NAME] [--limit SECONDS] [--budget TOKENS]
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


async def main():
    options = sweep.arguments(__doc__)
    import vllm
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM
    shape = sweep.SHAPES[options.shape]
    results = sweep.Results(options.results, f"vLLM {vllm.__version__}", options.shape, options.limit)
    further = {} if options.budget is None else dict(max_num_batched_tokens=options.budget)
    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(
        model=sweep.write_config(tempfile.mkdtemp(), options.shape), load_format="dummy", skip_tokenizer_init=True, dtype="bfloat16",
        enable_prefix_caching=False, disable_log_stats=True, max_model_len=shape["max_position_embeddings"], gpu_memory_utilization=0.9, **further))
    try:
        await run(engine, dict(workload="warm", clients=32, seed=9, requests=[[512, 16]] * 64), shape["vocab_size"], "warm")
        for number, load in enumerate(sweep.loads(options.loads)):
            if not results.has_time_for(load):
                continue
            try:
                results.add(sweep.summarize(load, await run(engine, load, shape["vocab_size"], str(number))))
            except Exception as error:
                results.failed(load, error)
    finally:
        engine.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
