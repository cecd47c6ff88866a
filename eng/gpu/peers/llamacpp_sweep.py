"""llama.cpp from its shared libraries (ctypes, llama.h of v0.5.0), random weights, token ids in and out: closed loops of clients.

usage: llamacpp_sweep.py LOADS RESULTS --library FOLDER [--shape NAME] [--limit SECONDS] [--budget TOKENS] [--sampling backend|host]

FOLDER holds libggml*.so and libllama*.so, for one the folder bins/linux-x64 of npm's @node-llama-cpp/linux-x64 3.22.1. The scheduler is llama-server's: every
step one token for each sequence that generates, then prompts until the step holds 2,048 tokens (n_batch); --budget is n_ubatch (512, as llama-server has it).
Flash attention is on, keys and values have 16 bits, each sequence has its own stream of the cache (kv_unified off). Greedy, sampled by the backend (the default) or
from logits copied to the host, which needs numpy.
"""
import ctypes as c
import glob
import os
import random
import sys
import time

import sweep

STEP_TOKENS = 2048
F32, BF16 = 0, 30
LOG_DEBUG, LOG_WARNING, LOG_CONTINUED = 1, 3, 5


class ModelParams(c.Structure):
    _fields_ = [("devices", c.c_void_p), ("tensor_buft_overrides", c.c_void_p), ("n_gpu_layers", c.c_int32), ("split_mode", c.c_int), ("load_mode", c.c_int),
                ("lazy_mode", c.c_int), ("main_gpu", c.c_int32), ("tensor_split", c.c_void_p), ("progress_callback", c.c_void_p),
                ("progress_callback_user_data", c.c_void_p), ("kv_overrides", c.c_void_p), ("vocab_only", c.c_bool), ("check_tensors", c.c_bool),
                ("use_extra_bufts", c.c_bool), ("no_host", c.c_bool), ("no_alloc", c.c_bool), ("load_mtp", c.c_bool)]


class ContextParams(c.Structure):
    _fields_ = [("n_ctx", c.c_uint32), ("n_batch", c.c_uint32), ("n_ubatch", c.c_uint32), ("n_seq_max", c.c_uint32), ("n_rs_seq", c.c_uint32),
                ("n_outputs_max", c.c_uint32), ("n_outputs_max_per_seq", c.c_uint32), ("n_threads", c.c_int32), ("n_threads_batch", c.c_int32),
                ("ctx_type", c.c_int), ("rope_scaling_type", c.c_int), ("pooling_type", c.c_int), ("attention_type", c.c_int), ("flash_attn_type", c.c_int),
                ("rope_freq_base", c.c_float), ("rope_freq_scale", c.c_float), ("yarn_ext_factor", c.c_float), ("yarn_attn_factor", c.c_float),
                ("yarn_beta_fast", c.c_float), ("yarn_beta_slow", c.c_float), ("yarn_orig_ctx", c.c_uint32), ("defrag_thold", c.c_float),
                ("cb_eval", c.c_void_p), ("cb_eval_user_data", c.c_void_p), ("type_k", c.c_int), ("type_v", c.c_int), ("abort_callback", c.c_void_p),
                ("abort_callback_data", c.c_void_p), ("embeddings", c.c_bool), ("offload_kqv", c.c_bool), ("no_perf", c.c_bool), ("op_offload", c.c_bool),
                ("swa_full", c.c_bool), ("kv_unified", c.c_bool), ("samplers", c.c_void_p), ("n_samplers", c.c_size_t), ("ctx_other", c.c_void_p)]


class Batch(c.Structure):
    _fields_ = [("n_tokens", c.c_int32), ("token", c.POINTER(c.c_int32)), ("embd", c.c_void_p), ("pos", c.POINTER(c.c_int32)),
                ("n_seq_id", c.POINTER(c.c_int32)), ("seq_id", c.POINTER(c.c_void_p)), ("logits", c.POINTER(c.c_int8))]


class ContextSettings(c.Structure):
    _fields_ = [("mem_size", c.c_size_t), ("mem_buffer", c.c_void_p), ("no_alloc", c.c_bool)]


class SamplerChainParams(c.Structure):
    _fields_ = [("no_perf", c.c_bool)]


LOG = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)
SET_DATA = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)
P, TEXT, I32, I64, SIZE = c.c_void_p, c.c_char_p, c.c_int32, c.c_int64, c.c_size_t
FUNCTIONS = {
    "ggml-base": dict(ggml_init=(P, ContextSettings), ggml_new_tensor_1d=(P, P, c.c_int, I64), ggml_new_tensor_2d=(P, P, c.c_int, I64, I64), ggml_set_name=(P, P, TEXT),
                      ggml_get_name=(TEXT, P), ggml_nbytes=(SIZE, P), ggml_tensor_overhead=(SIZE,), gguf_init_empty=(P,), gguf_add_tensor=(None, P, P),
                      gguf_set_val_u32=(None, P, TEXT, c.c_uint32), gguf_set_val_f32=(None, P, TEXT, c.c_float), gguf_set_val_str=(None, P, TEXT, TEXT),
                      ggml_backend_tensor_set=(None, P, P, SIZE, SIZE), ggml_backend_dev_name=(TEXT, P), ggml_backend_dev_description=(TEXT, P)),
    "ggml": dict(ggml_backend_load=(P, TEXT), ggml_backend_dev_count=(SIZE,), ggml_backend_dev_get=(P, SIZE)),
    "llama": dict(llama_log_set=(None, LOG, P), llama_version=(TEXT,), llama_model_default_params=(ModelParams,), llama_context_default_params=(ContextParams,),
                  llama_model_init_from_user=(P, P, SET_DATA, P, ModelParams), llama_init_from_model=(P, P, ContextParams), llama_free=(None, P),
                  llama_get_memory=(P, P), llama_memory_clear=(None, P, c.c_bool), llama_memory_seq_rm=(c.c_bool, P, I32, I32, I32),
                  llama_decode=(I32, P, Batch), llama_synchronize=(None, P), llama_get_logits=(P, P),
                  llama_get_sampled_token_ith=(I32, P, I32), llama_set_sampler=(c.c_bool, P, I32, P), llama_sampler_chain_default_params=(SamplerChainParams,),
                  llama_sampler_chain_init=(P, SamplerChainParams), llama_sampler_chain_add=(None, P, P), llama_sampler_init_greedy=(P,)),
}


class Library:
    """The functions of the shared libraries in a folder, as attributes; the device that weights go to."""

    def __init__(self, folder, log_path):
        for name, functions in FUNCTIONS.items():
            path = (sorted(glob.glob(os.path.join(folder, f"lib{name}.so"))) + sorted(glob.glob(os.path.join(folder, f"lib{name}.*v*.so"))))[0]
            library = c.CDLL(path, mode=c.RTLD_GLOBAL)
            for function, (result, *arguments) in functions.items():
                symbol = getattr(library, function)
                symbol.restype, symbol.argtypes = result, arguments
                setattr(self, function, symbol)
        log, shown = open(log_path, "w"), LOG_WARNING

        def write(level, text, _):
            nonlocal shown
            shown = shown if level == LOG_CONTINUED else level
            if shown <= LOG_DEBUG:
                return
            log.write(text.decode(errors="replace"))
            log.flush()
            if shown >= LOG_WARNING:
                sys.stderr.write(text.decode(errors="replace"))

        self._log = LOG(write)
        self.llama_log_set(self._log, None)
        for name in ("cuda", f"cpu-{cpu_variant(folder)}"):
            path = os.path.join(folder, f"libggml-{name}.so")
            if os.path.exists(path) and not self.ggml_backend_load(path.encode()):
                raise RuntimeError(f"{path} does not load; {log_path} may say why")
        devices = [self.ggml_backend_dev_get(i) for i in range(self.ggml_backend_dev_count())]
        self.devices = [f"{self.ggml_backend_dev_name(d).decode()}: {self.ggml_backend_dev_description(d).decode()}" for d in devices]


def cpu_variant(folder):
    """The best of the libraries for the host that its processor can run."""
    with open("/proc/cpuinfo") as file:
        flags = next((line for line in file if line.startswith("flags")), "").split()
    for name, needs in (("sapphirerapids", ("amx_int8", "avx512_bf16", "avx512_fp16")), ("zen4", ("avx512_bf16", "avx512_vnni")), ("icelake", ("avx512_vnni", "avx512_vbmi")),
                        ("skylakex", ("avx512f", "avx512vl")), ("haswell", ("avx2", "fma", "f16c"))):
        if all(flag in flags for flag in needs) and os.path.exists(os.path.join(folder, f"libggml-cpu-{name}.so")):
            return name
    return "x64"


def tensors(shape):
    """Names and sizes of a Llama model's tensors under llama.cpp's names, the contiguous dimension first."""
    hidden, mlp, vocabulary = shape["hidden_size"], shape["intermediate_size"], shape["vocab_size"]
    key_value = shape["num_key_value_heads"] * (hidden // shape["num_attention_heads"])
    yield "token_embd.weight", (hidden, vocabulary)
    yield "output_norm.weight", (hidden,)
    yield "output.weight", (hidden, vocabulary)
    for layer in range(shape["num_hidden_layers"]):
        for name, size in (("attn_norm", (hidden,)), ("attn_q", (hidden, hidden)), ("attn_k", (hidden, key_value)), ("attn_v", (hidden, key_value)),
                           ("attn_output", (hidden, hidden)), ("ffn_norm", (hidden,)), ("ffn_gate", (hidden, mlp)), ("ffn_up", (hidden, mlp)), ("ffn_down", (mlp, hidden))):
            yield f"blk.{layer}.{name}.weight", size


def make_model(library, shape):
    """A model that exists in no file: its metadata is made here, and each tensor is given random values as the library asks for them."""
    metadata = library.gguf_init_empty()
    settings = library.ggml_init(ContextSettings(library.ggml_tensor_overhead() * (16 + 9 * shape["num_hidden_layers"]), None, True))
    library.gguf_set_val_str(metadata, b"general.architecture", b"llama")
    library.gguf_set_val_str(metadata, b"tokenizer.ggml.model", b"none")
    for key, value in (("vocab_size", shape["vocab_size"]), ("context_length", shape["max_position_embeddings"]), ("embedding_length", shape["hidden_size"]),
                       ("block_count", shape["num_hidden_layers"]), ("feed_forward_length", shape["intermediate_size"]), ("attention.head_count", shape["num_attention_heads"]),
                       ("attention.head_count_kv", shape["num_key_value_heads"]), ("rope.dimension_count", shape["hidden_size"] // shape["num_attention_heads"])):
        library.gguf_set_val_u32(metadata, b"llama." + key.encode(), value)
    library.gguf_set_val_f32(metadata, b"llama.attention.layer_norm_rms_epsilon", shape["rms_norm_eps"])
    library.gguf_set_val_f32(metadata, b"llama.rope.freq_base", shape["rope_theta"])
    expected, most = set(), 0
    for name, size in tensors(shape):
        tensor = library.ggml_new_tensor_1d(settings, F32, *size) if len(size) == 1 else library.ggml_new_tensor_2d(settings, BF16, *size)
        library.ggml_set_name(tensor, name.encode())
        library.gguf_add_tensor(metadata, tensor)
        expected.add(name)
        most = max(most, library.ggml_nbytes(tensor))
    rng = random.Random(0)
    floats = bytes((c.c_float * 1_000_003)(*(rng.gauss(0, 0.02) for _ in range(1_000_003))))
    halves = b"".join(floats[i:i + 2] for i in range(2, len(floats), 4))
    values = c.create_string_buffer(halves * (most // len(halves) + 2), len(halves) * (most // len(halves) + 2))
    ones = (c.c_float * shape["hidden_size"])(*[1.0] * shape["hidden_size"])
    unexpected = []

    @SET_DATA
    def set_data(tensor, _):
        name, length = library.ggml_get_name(tensor).decode(), library.ggml_nbytes(tensor)
        if name not in expected:
            unexpected.append(name)
        matrix = c.cast(tensor, c.POINTER(c.c_int32))[0] == BF16
        library.ggml_backend_tensor_set(tensor, c.addressof(values) + 2 * rng.randrange(len(halves) // 2) if matrix else c.addressof(ones), 0, length)
        expected.discard(name)

    parameters = library.llama_model_default_params()
    parameters.n_gpu_layers = 999
    model = library.llama_model_init_from_user(metadata, set_data, None, parameters)
    if not model or expected or unexpected:
        raise RuntimeError(f"no model; not asked for: {sorted(expected)[:5]}, not known: {unexpected[:5]}")
    return model


class Engine:
    """A model with one context at a time."""

    def __init__(self, library, model, shape, on_host):
        self.on_host = on_host
        self.library, self.model, self.vocabulary, self.context = library, model, shape["vocab_size"], None
        self.on_device = any(not device.startswith("CPU") for device in library.devices)
        integers, self.outputs = c.c_int32 * STEP_TOKENS, (c.c_int8 * STEP_TOKENS)()
        self.tokens, self.positions, self.numbers, ones = integers(), integers(), integers(), integers(*[1] * STEP_TOKENS)
        each = (c.c_void_p * STEP_TOKENS)(*(c.addressof(self.numbers) + 4 * i for i in range(STEP_TOKENS)))
        self.batch = Batch(0, self.tokens, None, self.positions, ones, each, self.outputs)

    def open(self, sequences, tokens_each, ubatch):
        """A context whose cache has room for that many tokens in each of that many sequences."""
        if self.context:
            self.library.llama_free(self.context)
        parameters = self.library.llama_context_default_params()
        each = -(-tokens_each // 256) * 256
        parameters.n_ctx, parameters.n_seq_max, parameters.n_batch, parameters.n_ubatch = each * sequences, sequences, STEP_TOKENS, ubatch
        parameters.n_outputs_max, parameters.n_outputs_max_per_seq = max(sequences, 16), 1
        parameters.n_threads = parameters.n_threads_batch = min(8, os.cpu_count())
        parameters.flash_attn_type, parameters.offload_kqv, parameters.op_offload, parameters.kv_unified, parameters.no_perf = 1, self.on_device, self.on_device, False, True
        self.context = self.library.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise RuntimeError("no context")
        self.memory = self.library.llama_get_memory(self.context)
        for sequence in range(0 if self.on_host else sequences):
            chain = self.library.llama_sampler_chain_init(self.library.llama_sampler_chain_default_params())
            self.library.llama_sampler_chain_add(chain, self.library.llama_sampler_init_greedy())
            self.library.llama_set_sampler(self.context, sequence, chain)

    def clear(self):
        self.library.llama_memory_clear(self.memory, False)

    def forget(self, sequence):
        self.library.llama_memory_seq_rm(self.memory, sequence, -1, -1)

    def step(self, parts):
        """Parts are (sequence, first position, tokens, whether the last gives a token), in the order of sequences; returns the tokens given."""
        at, outputs = 0, []
        for sequence, position, tokens, gives in parts:
            end = at + len(tokens)
            self.tokens[at:end], self.positions[at:end], self.numbers[at:end] = tokens, range(position, position + end - at), [sequence] * (end - at)
            self.outputs[at:end] = bytes(end - at)
            if gives:
                self.outputs[end - 1] = 1
                outputs.append(end - 1)
            at = end
        self.batch.n_tokens = at
        failed = self.library.llama_decode(self.context, self.batch)
        if failed:
            raise RuntimeError(f"llama_decode gave {failed}")
        if not outputs:
            self.library.llama_synchronize(self.context)
            return []
        if self.on_host:
            import numpy
            logits = (c.c_float * (len(outputs) * self.vocabulary)).from_address(self.library.llama_get_logits(self.context))
            return numpy.frombuffer(logits, numpy.float32).reshape(len(outputs), self.vocabulary).argmax(axis=1).tolist()
        tokens = [self.library.llama_get_sampled_token_ith(self.context, at) for at in outputs]
        if min(tokens) < 0:
            raise RuntimeError("the backend sampled no token")
        return tokens


class Slot:
    def __init__(self, request, prompt):
        self.request, self.prompt, self.position, self.token = request, prompt, 0, None


def run(engine, load):
    """A client's next request follows its last at once; client and sequence have the same number."""
    requests = sweep.requests_of(load)
    prompts, sent = [sweep.prompt_ids(load, i, engine.vocabulary) for i in range(len(requests))], 0
    engine.clear()
    slots = [None] * load["clients"]
    while True:
        for number, slot in enumerate(slots):
            if slot is None and sent < len(requests):
                slots[number] = Slot(requests[sent], prompts[sent])
                requests[sent].sent = time.perf_counter()
                sent += 1
        busy = [(number, slot) for number, slot in enumerate(slots) if slot]
        if not busy:
            return requests
        room, parts, givers = STEP_TOKENS - sum(slot.token is not None for _, slot in busy), [], []
        for number, slot in busy:
            if slot.token is not None:
                tokens, gives = [slot.token], True
            else:
                tokens = slot.prompt[slot.position:slot.position + room]
                room -= len(tokens)
                gives = slot.position + len(tokens) == len(slot.prompt)
            if tokens:
                parts.append((number, slot.position, tokens, gives))
                slot.position += len(tokens)
            if tokens and gives:
                givers.append((number, slot))
        given, now = engine.step(parts), time.perf_counter()
        for (number, slot), token in zip(givers, given):
            slot.request.times.append(now)
            slot.token = token
            if len(slot.request.times) == slot.request.output_tokens:
                engine.forget(number)
                slots[number] = None


def option(name, default=None):
    """Takes an option of this script alone out of the arguments."""
    if name not in sys.argv:
        return default or sys.exit(__doc__)
    at = sys.argv.index(name)
    value = sys.argv[at + 1]
    del sys.argv[at:at + 2]
    return value


def main():
    folder, sampling = os.path.abspath(option("--library")), option("--sampling", "backend")
    if sampling not in ("backend", "host"):
        sys.exit(__doc__)
    options = sweep.arguments(__doc__)
    shape, ubatch = sweep.SHAPES[options.shape], options.budget or 512
    if shape["model_type"] != "llama":
        sys.exit("only Llama's shapes")
    library = Library(folder, options.results + ".log")
    results = sweep.Results(options.results, f"llama.cpp {library.llama_version().decode()}", options.shape, options.limit, devices=library.devices, sampling=sampling)
    engine = Engine(library, make_model(library, shape), shape, sampling == "host")
    for load in sweep.loads(options.loads):
        if not results.has_time_for(load):
            continue
        try:
            engine.open(load["clients"], max(sum(lengths) for lengths in load["requests"]) + 8, ubatch)
            run(engine, sweep.batch(min(8, load["clients"]), 64, 8, 9))
            results.add(sweep.summarize(load, run(engine, load)))
        except RuntimeError as error:
            results.failed(load, error)
    sys.stdout.flush()
    os._exit(0)  # the libraries' own threads end with the process


if __name__ == "__main__":
    main()
