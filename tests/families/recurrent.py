"""State-space models, recurrent ones, and hybrids with attention."""

from typing import Any

from tests.families.family import CAUSAL, DECODER, Family
from tests.families.mixtures import EXPERTS

LLAMA = DECODER | {"pad_token_id": 0}
MAMBA: dict[str, Any] = {
    "vocab_size": DECODER["vocab_size"],
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "state_size": 4,
    "conv_kernel": 3,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 0,
}
HEADS = {"num_heads": 4, "head_dim": 8, "n_groups": 1, "chunk_size": 8}
JAMBA = EXPERTS | {
    "attn_layer_offset": 1,
    "attn_layer_period": 2,
    "expert_layer_offset": 1,
    "expert_layer_period": 2,
    "mamba_d_state": 4,
    "mamba_dt_rank": 4,
    "use_mamba_kernels": False,
}
MAMBA_HEADS = {
    "mamba_n_heads": 4,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
    "mamba_d_ssm": 32,
}
QWEN3_NEXT = EXPERTS | {
    "head_dim": 8,
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}

RECURRENT: dict[str, Family] = {
    "mamba": Family("MambaConfig", CAUSAL, MAMBA, layers=4),
    "mamba2": Family("Mamba2Config", CAUSAL, MAMBA | HEADS, layers=2),
    "falcon_mamba": Family("FalconMambaConfig", CAUSAL, MAMBA, layers=4),
    "rwkv": Family("RwkvConfig", CAUSAL, MAMBA | {"attention_hidden_size": 16}, layers=14),
    "recurrent_gemma": Family(
        "RecurrentGemmaConfig",
        CAUSAL,
        LLAMA | {"lru_width": 16, "attention_window_size": 16},
        refused="cannot take a text of these rows",
    ),
    "jamba": Family("JambaConfig", CAUSAL, JAMBA, layers=10),
    "lfm2": Family(
        "Lfm2Config", CAUSAL, LLAMA | {"layer_types": ["conv", "full_attention"]}, layers=12
    ),
    "qwen3_next": Family("Qwen3NextConfig", CAUSAL, QWEN3_NEXT, layers=7),
    "falcon_h1": Family("FalconH1Config", CAUSAL, LLAMA | MAMBA_HEADS, layers=16),
    "bamba": Family(
        "BambaConfig", CAUSAL, LLAMA | MAMBA_HEADS | {"attn_layer_indices": [1]}, layers=12
    ),
}
