"""Small checkpoints of random configurations with what Hugging Face transformers gives for them, in the form of the conformance kit.

usage: random_checkpoints.py KIT [--count 150] [--seed 1] [--processes 8] [--only FAMILY]

Writes KIT/models/FAMILY-NUMBER/: config.json in the form of transformers 5 or of those before, weights in F32, BF16 or F16, in one file or in shards,
expected.json and expected_logits.safetensors as the loaded checkpoint gives them in float32 arithmetic. A configuration follows from the seed and its number
alone. Needs transformers 5 and torch, no GPU. Afterwards: FASTGEN_CONFORMANCE=KIT and the test program with --filter FullyQualifiedName~ModelGoldenTests.
"""
import argparse
import collections
import json
import multiprocessing
import os
import random
import shutil
import sys
import traceback

NEW_TOKENS, LOGIT_ROWS = 24, 8
LEAST_GAP = 0.01        # between the two best logits on a greedy path, so that rounding does not turn it
PROMPT_LENGTHS = ((1, 1), (2, 9), (20, 45), (100, 160))
TRIES = 12


def sizes(r):
    """Heads, key/value heads and the columns of a head and of the layer."""
    kv_heads = r.choice([1, 1, 2, 3])
    heads = kv_heads * r.choice([1, 1, 2, 3, 4])
    head_dim = r.choice([columns for columns in (8, 16, 24, 32, 40, 48, 64, 80) if columns * heads <= 192])
    return dict(num_attention_heads=heads, num_key_value_heads=kv_heads), head_dim, heads * head_dim


def width(r):
    """Columns between the products of an MLP; rarely an odd number."""
    return r.choice([32, 48, 64, 72, 96, 100, 120, 128, 136, 51 if r.random() < 0.3 else 80])


def rotary(r, head_dim, context, types=("default", "default", "linear", "dynamic", "yarn", "llama3", "longrope"), fraction=None):
    """Rotary parameters, and the context where the text may grow beyond it."""
    kind, theta = r.choice(types), r.choice([100.0, 10000.0, 500000.0, 1000000.0])
    parameters, longest = dict(rope_type=kind, rope_theta=theta), None
    if fraction is not None:
        parameters["partial_rotary_factor"] = fraction
    if kind in ("linear", "dynamic", "llama3"):
        parameters["factor"] = r.choice([1.5, 2.0, 4.0, 8.0])
    if kind == "dynamic":
        longest = context
    if kind == "llama3":
        parameters.update(low_freq_factor=r.choice([1.0, 2.0]), high_freq_factor=r.choice([4.0, 8.0]), original_max_position_embeddings=r.choice([32, 64, context // 2]))
    if kind == "yarn":
        parameters.update(factor=r.choice([2.0, 4.0]), original_max_position_embeddings=context)
        if r.random() < 0.4:
            parameters.update(beta_fast=r.choice([16.0, 32.0]), beta_slow=r.choice([1.0, 2.0]))
        if r.random() < 0.3:
            parameters["attention_factor"] = r.choice([0.9, 1.2])
        elif r.random() < 0.4:
            parameters.update(mscale=r.choice([0.7, 1.0]), mscale_all_dim=r.choice([0.5, 1.0]))
        if r.random() < 0.3:
            parameters["truncate"] = False
    if kind == "longrope":
        half = int(head_dim * (fraction or 1)) // 2
        parameters.update(short_factor=[round(r.uniform(1, 1.5), 3) for _ in range(half)], long_factor=[round(r.uniform(1.5, 6), 3) for _ in range(half)],
                          original_max_position_embeddings=r.choice([40, 64]))
        if r.random() < 0.5:
            parameters["factor"] = r.choice([2.0, 4.0])
        if r.random() < 0.3:
            parameters["attention_factor"] = 1.1
    return parameters, longest


def common(r, context):
    return dict(vocab_size=r.choice([97, 128, 131, 160, 200]), num_hidden_layers=r.choice([1, 2, 2, 3]), max_position_embeddings=context,
                tie_word_embeddings=r.random() < 0.3, bos_token_id=1, eos_token_id=2, pad_token_id=0)


def windows(r, values, layers, types=True):
    """A sliding window, and sometimes which layers have it."""
    values["sliding_window"] = r.choice([4, 8, 16, 33, 64])
    if types and r.random() < 0.4:
        values["layer_types"] = [r.choice(["full_attention", "sliding_attention"]) for _ in range(layers)]


def llama(r):
    context = r.choice([120, 200, 256])
    heads, head_dim, hidden = sizes(r)
    parameters, longest = rotary(r, head_dim, context)
    values = dict(common(r, context), **heads, hidden_size=hidden, intermediate_size=width(r), rms_norm_eps=r.choice([1e-5, 1e-6]), rope_parameters=parameters,
                  attention_bias=r.random() < 0.3, mlp_bias=r.random() < 0.3, hidden_act=r.choice(["silu", "silu", "gelu", "relu", "gelu_pytorch_tanh"]))
    if r.random() < 0.4:
        values.update(hidden_size=heads["num_attention_heads"] * r.choice([8, 12, 16]), head_dim=head_dim)
    return "LlamaConfig", values, longest


def mistral(r):
    context = 256
    heads, head_dim, hidden = sizes(r)
    parameters, longest = rotary(r, head_dim, context, ("default", "default", "yarn", "linear"))
    values = dict(common(r, context), **heads, hidden_size=hidden, intermediate_size=width(r), rope_parameters=parameters, sliding_window=None)
    if r.random() < 0.7:
        windows(r, values, values["num_hidden_layers"], types=False)
    if r.random() < 0.4:
        values.update(hidden_size=r.choice([32, 48, 64]), head_dim=head_dim)
    return "MistralConfig", values, longest


def mixtral(r):
    context = 256
    heads, head_dim, hidden = sizes(r)
    experts = r.choice([2, 3, 4, 6, 8])
    values = dict(common(r, context), **heads, hidden_size=hidden, intermediate_size=r.choice([32, 40, 64]), num_local_experts=experts,
                  num_experts_per_tok=r.randint(1, min(experts, 4)), rope_parameters=rotary(r, head_dim, context, ("default", "default", "yarn"))[0], sliding_window=None, head_dim=head_dim)
    if r.random() < 0.4:
        windows(r, values, values["num_hidden_layers"], types=False)
    return "MixtralConfig", values, None


def qwen2(r):
    context = r.choice([120, 200, 256])
    heads, head_dim, hidden = sizes(r)
    parameters, longest = rotary(r, head_dim, context, ("default", "default", "yarn", "dynamic"))
    values = dict(common(r, context), **heads, hidden_size=hidden, intermediate_size=width(r), rope_parameters=parameters)
    if r.random() < 0.4:
        values.update(use_sliding_window=True, max_window_layers=r.randint(0, values["num_hidden_layers"]))
        windows(r, values, values["num_hidden_layers"])
    return "Qwen2Config", values, longest


def qwen3(r):
    _, values, longest = qwen2(r)
    head_dim = values["hidden_size"] // values["num_attention_heads"]
    values.update(head_dim=head_dim, hidden_size=r.choice([32, 48, 64, values["hidden_size"]]), attention_bias=r.random() < 0.3)
    return "Qwen3Config", values, longest


def experts_of(r, values):
    experts = r.choice([2, 4, 5, 8])
    values.update(num_experts=experts, num_experts_per_tok=r.randint(1, min(experts, 4)), moe_intermediate_size=r.choice([16, 32, 40]), norm_topk_prob=r.random() < 0.5,
                  decoder_sparse_step=r.choice([1, 1, 2]), mlp_only_layers=[0] if r.random() < 0.2 else [])


def qwen2_moe(r):
    _, values, longest = qwen2(r)
    experts_of(r, values)
    values.update(shared_expert_intermediate_size=r.choice([24, 48, 64]), qkv_bias=r.random() < 0.7)
    return "Qwen2MoeConfig", values, longest


def qwen3_moe(r):
    _, values, longest = qwen3(r)
    experts_of(r, values)
    values.pop("max_window_layers", None)
    return "Qwen3MoeConfig", values, longest


def phi(r):
    context = 256
    heads, head_dim, hidden = sizes(r)
    fraction = r.choice([0.25, 0.4, 0.5, 0.5, 0.75, 1.0])
    while int(head_dim * fraction) % 2:
        fraction = 0.5
    values = dict(common(r, context), **heads, hidden_size=hidden, intermediate_size=width(r), layer_norm_eps=r.choice([1e-5, 1e-6]), hidden_act=r.choice(["gelu_new", "gelu", "relu"]),
                  rope_parameters=rotary(r, head_dim, context, ("default", "default", "linear", "yarn"), fraction)[0], resid_pdrop=0.0)
    return "PhiConfig", values, None


def phi3(r):
    context = 256
    heads, head_dim, hidden = sizes(r)
    fraction = r.choice([1.0, 1.0, 0.5, 0.75])
    while int(head_dim * fraction) % 2:
        fraction = 1.0
    parameters, _ = rotary(r, head_dim, context, ("default", "longrope", "longrope"), fraction)
    values = dict(common(r, context), **heads, hidden_size=hidden, intermediate_size=width(r), rope_parameters=parameters, sliding_window=None)
    if "original_max_position_embeddings" in parameters:
        values["original_max_position_embeddings"] = parameters["original_max_position_embeddings"]
    if r.random() < 0.4:
        windows(r, values, values["num_hidden_layers"], types=False)
    return "Phi3Config", values, None


def falcon(r):
    context = 256
    form = r.choice(["7b", "40b", "11b", "rw", "sequential"])
    heads, head_dim = r.choice([1, 2, 3, 4, 6, 8]), r.choice([8, 16, 24, 32])
    values = dict(common(r, context), num_attention_heads=heads, hidden_size=heads * head_dim, layer_norm_epsilon=r.choice([1e-5, 1e-6]), bias=r.random() < 0.4)
    if form in ("40b", "11b"):
        values.update(new_decoder_architecture=True, num_kv_heads=r.choice([d for d in (1, 2, 3, 4, 8) if heads % d == 0]), num_ln_in_parallel_attn=2 if form == "40b" else 1)
    elif form == "7b":
        values.update(new_decoder_architecture=False, multi_query=True, parallel_attn=True)
    else:
        values.update(new_decoder_architecture=False, multi_query=r.random() < 0.4, parallel_attn=form == "rw" and r.random() < 0.4, alibi=form == "rw")
    if r.random() < 0.3:
        values["ffn_hidden_size"] = r.choice([48, 96, 100])
    if not values.get("alibi"):
        values["rope_parameters"] = rotary(r, head_dim, context, ("default", "default", "linear"))[0]
    return "FalconConfig", values, None


def opt(r):
    context = 256
    heads, head_dim = r.choice([1, 2, 3, 4]), r.choice([8, 16, 24, 32])
    values = dict(common(r, context), num_attention_heads=heads, hidden_size=heads * head_dim, ffn_dim=width(r), do_layer_norm_before=r.random() < 0.7,
                  enable_bias=r.random() < 0.8, layer_norm_elementwise_affine=r.random() < 0.8, activation_function=r.choice(["relu", "relu", "gelu"]),
                  _remove_final_layer_norm=r.random() < 0.2, tie_word_embeddings=r.random() < 0.7)
    if r.random() < 0.4:
        values["word_embed_proj_dim"] = r.choice([16, 24, 40])
    return "OPTConfig", values, None


FAMILIES = dict(llama=llama, mistral=mistral, mixtral=mixtral, qwen2=qwen2, qwen3=qwen3, qwen2moe=qwen2_moe, qwen3moe=qwen3_moe, phi=phi, phi3=phi3, falcon=falcon, opt=opt)
ORDER = ["llama", "falcon", "qwen2", "phi3", "mistral", "opt", "qwen3", "mixtral", "phi", "qwen2moe", "llama", "qwen3moe"]


def fill(model, generator):
    """Weights that keep values near one in size, with logits far enough apart."""
    import torch
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() >= 2:
            embeds = "embed" in name and "proj" not in name
            gain = 3.0 if "lm_head" in name else 1.0 if embeds else 1.3
            value = noise * gain / (1.0 if embeds else parameter.shape[-1] ** 0.5)
        elif name.endswith("bias"):
            value = 0.2 * noise
        else:
            value = 1 + 0.2 * noise
        parameter.data.copy_(value)


def to_older_form(path, r):
    """config.json as transformers before 5 wrote it."""
    with open(path) as file:
        values = json.load(file)
    parameters = values.pop("rope_parameters", None)
    if parameters is not None:
        values["rope_theta"] = parameters.pop("rope_theta", 10000.0)
        if "partial_rotary_factor" in parameters:
            values["partial_rotary_factor"] = parameters.pop("partial_rotary_factor")
        kind = parameters.pop("rope_type", "default")
        values["rope_scaling"] = None if kind == "default" else {r.choice(["rope_type", "type"]): kind, **parameters}
    values["torch_dtype"] = values.pop("dtype", "float32")
    with open(path, "w") as file:
        json.dump(values, file, indent=2)


def make(kit, number, seed, only):
    import torch
    import transformers
    from safetensors.torch import save_file
    r = random.Random(f"{seed}-{number}")
    family = only or ORDER[number % len(ORDER)]
    name, values, longest = FAMILIES[family](r)
    dtype = r.choice([torch.float32, torch.float32, torch.float32, torch.bfloat16, torch.float16])
    folder = os.path.join(kit, "models", f"{family}-{number:03}")
    config = getattr(transformers, name)(**values)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    fill(model, torch.Generator().manual_seed(number))
    model.tie_weights()
    model.to(dtype).save_pretrained(folder, max_shard_size="60KB" if r.random() < 0.2 else "5GB")
    if r.random() < 0.4:
        to_older_form(os.path.join(folder, "config.json"), r)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.config.eos_token_id = model.generation_config.eos_token_id = None
    cases, logits = [], {}
    for shortest, most in PROMPT_LENGTHS:
        most = min(most, longest - 1 if longest else values["max_position_embeddings"] - NEW_TOKENS)
        # transformers 5.17's generate() forgets the context of a Phi-3 whose text grows past its original one: each further token follows from the one before alone.
        original = values.get("original_max_position_embeddings") if family == "phi3" else None
        case = best(model, r, range(min(shortest, most), most + 1), values["vocab_size"], range(original - NEW_TOKENS, original + 1) if original else ())
        if case is None:
            continue
        prompt, greedy, gap = case
        logits[f"logits_{len(cases)}"] = model(torch.tensor([prompt])).logits[0, -LOGIT_ROWS:].float().contiguous()
        cases.append(dict(prompt=prompt, greedy=greedy, min_top2_gap=gap))
    if not cases:
        shutil.rmtree(folder)
        return family, "no prompt has clear logits"
    save_file(logits, os.path.join(folder, "expected_logits.safetensors"))
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump(dict(transformers=transformers.__version__, torch=torch.__version__, cases=cases), file)
    return family, None


def best(model, r, lengths, vocabulary, avoided):
    """A prompt whose greedy continuation is not in doubt, None where none was found."""
    import torch
    for _ in range(TRIES):
        prompt = [r.randrange(3, vocabulary) for _ in range(r.choice(lengths))]
        if len(prompt) in avoided:
            continue
        out = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False, max_new_tokens=NEW_TOKENS,
                             return_dict_in_generate=True, output_logits=True, pad_token_id=0, eos_token_id=None)
        top = torch.stack([step[0].float().topk(2).values for step in out.logits])
        gap = (top[:, 0] - top[:, 1]).min().item()
        if gap >= LEAST_GAP:
            return prompt, out.sequences[0, len(prompt):].tolist(), gap
    return None


def work(kit, numbers, seed, only, results):
    import torch
    import transformers
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    for number in numbers:
        try:
            results.put((number, *make(kit, number, seed, only)))
        except Exception as error:
            shutil.rmtree(os.path.join(kit, "models", f"{only or ORDER[number % len(ORDER)]}-{number:03}"), ignore_errors=True)
            results.put((number, only or ORDER[number % len(ORDER)], f"{type(error).__name__}: {str(error)[:200]} at {traceback.extract_tb(error.__traceback__)[-1].name}"))
    results.put(None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kit")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--only", choices=FAMILIES)
    options = parser.parse_args()
    os.makedirs(os.path.join(options.kit, "models"), exist_ok=True)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=work, args=(options.kit, range(p, options.count, options.processes), options.seed, options.only, results)) for p in range(options.processes)]
    for worker in workers:
        worker.start()
    made, failed, running = collections.Counter(), [], len(workers)
    while running:
        result = results.get()
        if result is None:
            running -= 1
        elif result[2] is None:
            made[result[1]] += 1
        else:
            failed.append(result)
    for worker in workers:
        worker.join()
    for number, family, reason in sorted(failed):
        print(f"{family}-{number:03}: {reason}", file=sys.stderr)
    print(f"{sum(made.values())} checkpoints ({', '.join(f'{family} {count}' for family, count in sorted(made.items()))}), {len(failed)} left out")


if __name__ == "__main__":
    main()
