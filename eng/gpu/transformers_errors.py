#!/usr/bin/env python3
"""How far transformers' own 16-bit arithmetic lies from the expected logits of a conformance kit's BF16 and F16 checkpoints.

usage: transformers_errors.py KIT [--device cuda] [--attention eager] [--write FastGen.Tests/Models/transformers_errors.json]

Prints, for each checkpoint, arithmetic and prompt, the relative error of the logits that the kit holds (the last 8 positions of the prompt), and along
the greedy path (after the prompt and after each of the first 11 golden tokens, against F32 arithmetic here). --write records both for ModelGoldenTests,
by the SHA-256 of the file of expected logits. Needs PyTorch, transformers and safetensors.
"""
import argparse
import hashlib
import json
import os
import pathlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from safetensors.torch import load_file

PATH_ROWS = 12  # as many as ModelGoldenTests compares between a sequence alone and one among others


def stored_type(folder):
    config = json.loads((folder / "config.json").read_text())
    return getattr(torch, config.get("dtype") or config.get("torch_dtype") or "float32")


def load(folder, arithmetic, rounding, arguments):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=arithmetic, attn_implementation=arguments.attention)
    if rounding:  # what model.to(bfloat16) does to the rotary frequencies, which loading keeps in F32
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.copy_(buffer.to(rounding))
    return model.to(arguments.device).eval()


def relative_error(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


class Checkpoint:
    def __init__(self, folder, arguments):
        self.folder, self.arguments = folder, arguments
        self.cases = json.loads((folder / "expected.json").read_text())["cases"]
        file = folder / "expected_logits.safetensors"
        logits = load_file(file)
        self.expected = [logits[f"logits_{i}"].double() for i in range(len(self.cases))]
        self.hash = hashlib.sha256(file.read_bytes()).hexdigest()

    def logits(self, model, tokens, rows):
        tokens = torch.tensor([tokens], device=self.arguments.device)
        return model(tokens, use_cache=False).logits[0, -rows:].double().cpu()

    def prompt_errors(self, model):
        return [relative_error(self.logits(model, case["prompt"], len(expected)), expected) for case, expected in zip(self.cases, self.expected)]

    def paths(self, model):
        return [self.logits(model, case["prompt"] + case["greedy"][:PATH_ROWS - 1], PATH_ROWS) for case in self.cases]

    def measure(self):
        stored = stored_type(self.folder)
        # The convention that the kit's run used is the one whose F32 arithmetic gives its logits.
        errors = {rounding: self.prompt_errors(load(self.folder, torch.float32, rounding, self.arguments)) for rounding in (None, stored)}
        rounding = min(errors, key=lambda key: max(errors[key]))
        self.print("F32", "prompt", errors[rounding])
        if max(errors[rounding]) > 1e-3:
            raise ValueError("F32 arithmetic does not give the expected logits")
        exact = self.paths(load(self.folder, torch.float32, rounding, self.arguments))
        result = {"checkpoint": self.folder.name}
        for name, arithmetic in (("BF16", torch.bfloat16), ("F16", torch.float16)):
            if name == "BF16" and stored != torch.bfloat16:
                continue
            model = load(self.folder, arithmetic, rounding, self.arguments)
            prompt = self.prompt_errors(model)
            path = [relative_error(actual, expected) for actual, expected in zip(self.paths(model), exact)]
            self.print(name, "prompt", prompt)
            self.print(name, "path", path)
            result[name] = {"prompt": [float(f"{error:.3g}") for error in prompt], "path": [float(f"{error:.3g}") for error in path]}
        return result

    def print(self, arithmetic, rows, errors):
        lengths = (len(case["prompt"]) for case in self.cases)
        print(f"{self.folder.name} {self.arguments.device} {arithmetic} {rows}:", ", ".join(f"{length}: {error:.2e}" for length, error in zip(lengths, errors)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kit", type=pathlib.Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--attention", default="eager")
    parser.add_argument("--write", type=pathlib.Path)
    arguments = parser.parse_args()
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    arithmetic = f"transformers {transformers.__version__}, PyTorch {torch.__version__}, {device}, {arguments.attention} attention"
    print(arithmetic, flush=True)
    folders = sorted(file.parent for file in (arguments.kit / "models").glob("*/expected.json"))
    results = {}
    with torch.no_grad():
        for folder in folders:
            if stored_type(folder) == torch.float32:
                continue
            checkpoint = Checkpoint(folder, arguments)
            try:
                results[checkpoint.hash] = checkpoint.measure()
            except (ValueError, RuntimeError, OSError, KeyError) as error:
                print(f"{folder.name}: nothing recorded: {error}", flush=True)
    if arguments.write:
        records = ",\n".join(f"    {json.dumps(key)}: {json.dumps(errors)}" for key, errors in results.items())
        arguments.write.write_text(f'{{\n  "arithmetic": {json.dumps(arithmetic)},\n  "relative_errors": {{\n{records}\n  }}\n}}\n')


if __name__ == "__main__":
    main()
