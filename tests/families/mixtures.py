"""Mixtures of experts."""

from typing import Any

from tests.families.family import CAUSAL, DECODER, Family

LLAMA = DECODER | {"pad_token_id": 0}
EXPERTS = LLAMA | {
    "num_local_experts": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
DEEPSEEK: dict[str, Any] = LLAMA | {
    "num_key_value_heads": 2,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
}

MIXTURES: dict[str, Family] = {
    "mixtral": Family("MixtralConfig", CAUSAL, EXPERTS, layers=8),
    "qwen2_moe": Family("Qwen2MoeConfig", CAUSAL, EXPERTS, layers=14),
    "qwen3_moe": Family("Qwen3MoeConfig", CAUSAL, EXPERTS | {"head_dim": 8}, layers=8),
    "olmoe": Family("OlmoeConfig", CAUSAL, EXPERTS, layers=8),
    "deepseek_v2": Family("DeepseekV2Config", CAUSAL, DEEPSEEK, layers=10),
    "deepseek_v3": Family("DeepseekV3Config", CAUSAL, DEEPSEEK, layers=10),
    "gpt_oss": Family("GptOssConfig", CAUSAL, EXPERTS | {"head_dim": 8}, layers=8),
    "granitemoe": Family("GraniteMoeConfig", CAUSAL, EXPERTS, layers=8),
    "phimoe": Family("PhimoeConfig", CAUSAL, EXPERTS, layers=8),
    "glm4_moe": Family("Glm4MoeConfig", CAUSAL, DEEPSEEK | {"head_dim": 8}, layers=8),
    "dbrx": Family(
        "DbrxConfig",
        CAUSAL,
        {
            "vocab_size": DECODER["vocab_size"],
            "d_model": 16,
            "n_heads": 2,
            "n_layers": 2,
            "max_seq_len": 32,
            "attn_config": {"kv_n_heads": 1, "clip_qkv": 8.0, "rope_theta": 1e4},
            "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2},
            "pad_token_id": 0,
        },
        layers=6,
    ),
}
