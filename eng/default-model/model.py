"""The Llama architecture in plain PyTorch, with the parameter names of Hugging Face's LlamaForCausalLM."""

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config["num_attention_heads"]
        self.kv_heads = config["num_key_value_heads"]
        self.head_size = config["hidden_size"] // self.heads
        self.q_proj = nn.Linear(config["hidden_size"], self.heads * self.head_size, bias=False)
        self.k_proj = nn.Linear(config["hidden_size"], self.kv_heads * self.head_size, bias=False)
        self.v_proj = nn.Linear(config["hidden_size"], self.kv_heads * self.head_size, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_size, config["hidden_size"], bias=False)

    def forward(self, hidden, cos, sin):
        batch, length, _ = hidden.shape
        query = self.q_proj(hidden).view(batch, length, self.heads, self.head_size).transpose(1, 2)
        key = self.k_proj(hidden).view(batch, length, self.kv_heads, self.head_size).transpose(1, 2)
        value = self.v_proj(hidden).view(batch, length, self.kv_heads, self.head_size).transpose(1, 2)
        query, key = rotated(query, cos, sin), rotated(key, cos, sin)
        group = self.heads // self.kv_heads
        key, value = key.repeat_interleave(group, dim=1), value.repeat_interleave(group, dim=1)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))


def rotated(states, cos, sin):
    """Rotary position embedding: pairs are (i, i + head size / 2)."""
    first, second = states.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(states.dtype)


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config["hidden_size"], config["intermediate_size"], bias=False)
        self.up_proj = nn.Linear(config["hidden_size"], config["intermediate_size"], bias=False)
        self.down_proj = nn.Linear(config["intermediate_size"], config["hidden_size"], bias=False)

    def forward(self, hidden):
        return self.down_proj(functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))


class Norm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config["hidden_size"]))
        self.epsilon = config["rms_norm_eps"]

    def forward(self, hidden):
        hidden = hidden.float()
        return self.weight * (hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.epsilon))


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = FeedForward(config)
        self.input_layernorm = Norm(config)
        self.post_attention_layernorm = Norm(config)

    def forward(self, hidden, cos, sin):
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), cos, sin)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = Norm(config)


class StoryModel(nn.Module):
    """Next-token loss, or logits where no targets are given."""

    def __init__(self, config):
        super().__init__()
        self.model = Decoder(config)
        head_size = config["hidden_size"] // config["num_attention_heads"]
        frequencies = config["rope_theta"] ** (-torch.arange(0, head_size, 2).float() / head_size)
        angles = torch.outer(torch.arange(config["max_position_embeddings"]).float(), frequencies)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                adds_to_stream = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.02 / ((2 * config["num_hidden_layers"]) ** 0.5 if adds_to_stream else 1))

    def forward(self, ids, targets=None):
        length = ids.shape[1]
        hidden = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            hidden = layer(hidden, self.cos[:length], self.sin[:length])
        logits = functional.linear(self.model.norm(hidden), self.model.embed_tokens.weight)
        if targets is None:
            return logits
        return functional.cross_entropy(logits.float().view(-1, logits.shape[-1]), targets.reshape(-1))

    def hugging_face_weights(self):
        weights = {name: tensor.detach().float().cpu().clone() for name, tensor in self.state_dict().items()}
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
        return weights
