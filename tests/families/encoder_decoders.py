"""Encoder-decoders of text."""

from typing import Any

from tests.families.family import WIDTH, WORDS, Family

SEQ2SEQ = "Seq2SeqLM"
T5 = {
    "vocab_size": WORDS,
    "d_model": WIDTH,
    "d_kv": 8,
    "d_ff": 2 * WIDTH,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 0,
    "initializer_factor": 1.0,
}
BART: dict[str, Any] = {
    "vocab_size": WORDS,
    "d_model": WIDTH,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 2 * WIDTH,
    "decoder_ffn_dim": 2 * WIDTH,
    "max_position_embeddings": 32,
    "init_std": 0.2,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "forced_eos_token_id": 3,
    "pad_token_id": 0,
    "decoder_start_token_id": 2,
}
LED = BART | {
    "attention_window": 4,
    "max_encoder_position_embeddings": 64,
    "max_decoder_position_embeddings": 64,
}

ENCODER_DECODERS: dict[str, Family] = {
    "t5": Family("T5Config", SEQ2SEQ, T5, 32, ("q", "v")),
    "mt5": Family("MT5Config", SEQ2SEQ, T5, layers=36),
    "umt5": Family("UMT5Config", SEQ2SEQ, T5, layers=36),
    "longt5": Family("LongT5Config", SEQ2SEQ, T5 | {"local_radius": 4}, layers=32),
    "switch_transformers": Family(
        "SwitchTransformersConfig",
        SEQ2SEQ,
        T5
        | {
            "num_decoder_layers": 2,
            "num_experts": 2,
            "num_sparse_encoder_layers": 1,
            "num_sparse_decoder_layers": 1,
        },
        layers=38,
    ),
    "bart": Family("BartConfig", SEQ2SEQ, BART, layers=32),
    "mbart": Family("MBartConfig", SEQ2SEQ, BART, layers=32),
    "marian": Family("MarianConfig", SEQ2SEQ, BART, layers=32),
    "pegasus": Family("PegasusConfig", SEQ2SEQ, BART, layers=32),
    "blenderbot": Family("BlenderbotConfig", SEQ2SEQ, BART, layers=32),
    "m2m_100": Family("M2M100Config", SEQ2SEQ, BART, layers=32),
    "led": Family("LEDConfig", SEQ2SEQ, LED, layers=32),
    "bigbird_pegasus": Family(
        "BigBirdPegasusConfig", SEQ2SEQ, BART | {"attention_type": "original_full"}, layers=32
    ),
    "prophetnet": Family(
        "ProphetNetConfig",
        SEQ2SEQ,
        {
            "vocab_size": WORDS,
            "hidden_size": WIDTH,
            "num_encoder_layers": 2,
            "num_decoder_layers": 2,
            "num_encoder_attention_heads": 2,
            "num_decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "max_position_embeddings": 64,
            "num_buckets": 8,
            "relative_max_distance": 16,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "pad_token_id": 0,
            "decoder_start_token_id": 2,
        },
        layers=34,
    ),
}
