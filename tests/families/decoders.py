"""Dense decoders of text."""

from tests.families.family import CAUSAL, DECODER, PROJECTIONS, SEQUENCE, WIDTH, WORDS, Family

PAD = {"pad_token_id": 0}
LLAMA = DECODER | PAD
GEMMA = LLAMA | {"head_dim": 8}
ENDS = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
GPT2 = {
    "vocab_size": WORDS,
    "n_embd": WIDTH,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 32,
    "initializer_range": 0.2,
    "bos_token_id": 2,
    "eos_token_id": 2,
}
BLOOM = {"vocab_size": WORDS, "hidden_size": WIDTH, "n_layer": 2, "n_head": 2} | ENDS

DECODERS: dict[str, Family] = {
    "gpt2": Family("GPT2Config", CAUSAL, GPT2, 8, ("c_attn",)),
    "llama": Family("LlamaConfig", CAUSAL, DECODER, 14, PROJECTIONS),
    "qwen2": Family("Qwen2Config", CAUSAL, DECODER, 14, PROJECTIONS),
    "qwen3": Family("Qwen3Config", CAUSAL, DECODER | {"head_dim": 8}, 14, PROJECTIONS),
    "mistral": Family("MistralConfig", SEQUENCE, LLAMA, 14, PROJECTIONS),
    "gemma": Family("GemmaConfig", CAUSAL, GEMMA, 14, PROJECTIONS),
    "gemma3": Family("Gemma3TextConfig", CAUSAL, GEMMA, 14, PROJECTIONS),
    "gpt_neo": Family(
        "GPTNeoConfig",
        CAUSAL,
        {
            "vocab_size": WORDS,
            "hidden_size": WIDTH,
            "num_layers": 2,
            "num_heads": 2,
            "attention_types": [[["global", "local"], 1]],
            "max_position_embeddings": 32,
        }
        | ENDS,
        layers=12,
    ),
    "gpt_neox": Family("GPTNeoXConfig", CAUSAL, LLAMA, layers=8),
    "gptj": Family("GPTJConfig", CAUSAL, GPT2 | {"rotary_dim": 4}, layers=12),
    "codegen": Family("CodeGenConfig", CAUSAL, GPT2 | {"rotary_dim": 4, "n_head": 4}, layers=8),
    "openai-gpt": Family("OpenAIGPTConfig", CAUSAL, GPT2, layers=8),
    "ctrl": Family(
        "CTRLConfig",
        CAUSAL,
        {"vocab_size": WORDS, "n_embd": WIDTH, "dff": 32, "n_layer": 2, "n_head": 2} | ENDS,
        layers=12,
    ),
    "opt": Family(
        "OPTConfig", CAUSAL, LLAMA | {"ffn_dim": 32, "word_embed_proj_dim": WIDTH}, layers=12
    ),
    "bloom": Family("BloomConfig", CAUSAL, BLOOM, layers=8),
    "mpt": Family(
        "MptConfig",
        CAUSAL,
        {"vocab_size": WORDS, "d_model": WIDTH, "n_heads": 2, "n_layers": 2, "max_seq_len": 32}
        | ENDS,
        layers=8,
    ),
    "falcon": Family("FalconConfig", CAUSAL, LLAMA, layers=8),
    "gemma2": Family("Gemma2Config", CAUSAL, GEMMA, layers=14),
    "phi": Family("PhiConfig", CAUSAL, LLAMA, layers=12),
    "phi3": Family("Phi3Config", CAUSAL, LLAMA, layers=8),
    "persimmon": Family("PersimmonConfig", CAUSAL, LLAMA, layers=8),
    "stablelm": Family("StableLmConfig", CAUSAL, LLAMA, layers=14),
    "starcoder2": Family("Starcoder2Config", CAUSAL, LLAMA, layers=12),
    "gpt_bigcode": Family("GPTBigCodeConfig", CAUSAL, GPT2, layers=8),
    "olmo": Family("OlmoConfig", CAUSAL, LLAMA, layers=14),
    "olmo2": Family("Olmo2Config", CAUSAL, LLAMA, layers=14),
    "olmo3": Family("Olmo3Config", CAUSAL, LLAMA, layers=14),
    "cohere": Family("CohereConfig", CAUSAL, LLAMA, layers=14),
    "cohere2": Family("Cohere2Config", CAUSAL, LLAMA, layers=14),
    "granite": Family("GraniteConfig", CAUSAL, LLAMA, layers=14),
    "smollm3": Family("SmolLM3Config", CAUSAL, LLAMA, layers=14),
    "nemotron": Family("NemotronConfig", CAUSAL, GEMMA, layers=12),
    "glm": Family("GlmConfig", CAUSAL, GEMMA, layers=12),
    "glm4": Family("Glm4Config", CAUSAL, GEMMA, layers=12),
    "helium": Family("HeliumConfig", CAUSAL, GEMMA, layers=14),
    "arcee": Family("ArceeConfig", CAUSAL, LLAMA, layers=12),
    "diffllama": Family("DiffLlamaConfig", CAUSAL, LLAMA | {"num_key_value_heads": 2}, layers=14),
    "exaone4": Family("Exaone4Config", CAUSAL, LLAMA, layers=14),
    "seed_oss": Family("SeedOssConfig", CAUSAL, GEMMA, layers=14),
    "ernie4_5": Family("Ernie4_5Config", CAUSAL, GEMMA, layers=14),
    "hunyuan_v1_dense": Family("HunYuanDenseV1Config", CAUSAL, GEMMA, layers=14),
    "xglm": Family(
        "XGLMConfig",
        CAUSAL,
        {
            "vocab_size": WORDS,
            "d_model": WIDTH,
            "ffn_dim": 32,
            "num_layers": 2,
            "attention_heads": 2,
            "max_position_embeddings": 32,
        }
        | ENDS,
        layers=12,
    ),
    "biogpt": Family(
        "BioGptConfig", CAUSAL, ENDS | {k: v for k, v in LLAMA.items() if k not in ENDS}, layers=12
    ),
    "modernbert-decoder": Family("ModernBertDecoderConfig", CAUSAL, LLAMA, layers=12),
}
