"""Encoders of text."""

from tests.families.family import (
    ENCODER,
    NO_LINEAR,
    QUERY_VALUE,
    SEQUENCE,
    TOKENS,
    WIDTH,
    WORDS,
    Family,
)

# Relative positions, as in the checkpoints that people use.
DEBERTA = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8}
DEBERTA_V2 = DEBERTA | {"share_att_key": True}
PAD = {"pad_token_id": 0}
MODERN = (
    ENCODER | PAD | {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
)

# CANINE's last layers serve tagging only.
UNUSED = [
    f"final_char_encoder.layer.0.{name}"
    for name in (
        *("attention.self.query", "attention.self.key", "attention.self.value"),
        *("attention.output.dense", "intermediate.dense", "output.dense"),
    )
]

ENCODERS: dict[str, Family] = {
    "bert": Family("BertConfig", SEQUENCE, ENCODER, 13, QUERY_VALUE),
    "roberta": Family("RobertaConfig", TOKENS, ENCODER, 12, QUERY_VALUE),
    "deberta": Family("DebertaConfig", SEQUENCE, ENCODER | DEBERTA, 12, ("in_proj",)),
    "deberta-v2": Family(
        "DebertaV2Config", SEQUENCE, ENCODER | DEBERTA_V2, 12, ("query_proj", "value_proj")
    ),
    "distilbert": Family(
        "DistilBertConfig",
        SEQUENCE,
        {
            "vocab_size": WORDS,
            "dim": WIDTH,
            "hidden_dim": 2 * WIDTH,
            "n_layers": 2,
            "n_heads": 2,
            "max_position_embeddings": 32,
            "initializer_range": 0.2,
        },
        12,
        ("q_lin", "v_lin"),
    ),
    "electra": Family("ElectraConfig", TOKENS, ENCODER | {"embedding_size": 8}, 13, QUERY_VALUE),
    "albert": Family("AlbertConfig", SEQUENCE, ENCODER | PAD | {"embedding_size": 8}, layers=8),
    "mpnet": Family("MPNetConfig", SEQUENCE, ENCODER, layers=12),
    "xlm-roberta": Family("XLMRobertaConfig", SEQUENCE, ENCODER | PAD, layers=12),
    "camembert": Family("CamembertConfig", TOKENS, ENCODER | PAD, layers=12),
    "modernbert": Family("ModernBertConfig", SEQUENCE, MODERN, layers=8),
    "eurobert": Family("EuroBertConfig", SEQUENCE, MODERN, layers=14),
    "nomic_bert": Family("NomicBertConfig", SEQUENCE, MODERN, layers=15),
    "longformer": Family(
        "LongformerConfig", SEQUENCE, ENCODER | PAD | {"attention_window": 4}, layers=18
    ),
    "bigbird": Family(
        "BigBirdConfig",
        SEQUENCE,
        ENCODER | {"attention_type": "original_full"},
        lora={"exclude": ["pooler"]},
        layers=12,
    ),
    "funnel": Family(
        "FunnelConfig",
        SEQUENCE,
        {
            "vocab_size": WORDS,
            "block_sizes": [1, 1],
            "num_decoder_layers": 1,
            "d_model": WIDTH,
            "n_head": 2,
            "d_head": 8,
            "d_inner": 2 * WIDTH,
        },
        layers=12,
    ),
    "squeezebert": Family(
        "SqueezeBertConfig", SEQUENCE, ENCODER | {"embedding_size": WIDTH}, layers=1
    ),
    "roformer": Family("RoFormerConfig", SEQUENCE, ENCODER, layers=12),
    "nystromformer": Family(
        "NystromformerConfig",
        SEQUENCE,
        ENCODER | {"num_landmarks": 4},
        refused="cannot take a text of these rows",
    ),
    "convbert": Family("ConvBertConfig", SEQUENCE, ENCODER | {"embedding_size": WIDTH}, layers=16),
    "mobilebert": Family(
        "MobileBertConfig",
        SEQUENCE,
        ENCODER | {"embedding_size": 8, "intra_bottleneck_size": 8, "true_hidden_size": 8},
        layers=32,
    ),
    "fnet": Family("FNetConfig", SEQUENCE, ENCODER, layers=6),
    "canine": Family(
        "CanineConfig",
        SEQUENCE,
        ENCODER | {"num_hash_functions": 4, "num_hash_buckets": 40, "downsampling_rate": 2},
        lora={"exclude": UNUSED},
        layers=19,
    ),
    "esm": Family("EsmConfig", SEQUENCE, ENCODER | PAD | {"mask_token_id": 4}, layers=12),
    "xlnet": Family(
        "XLNetConfig",
        SEQUENCE,
        {"vocab_size": WORDS, "d_model": WIDTH, "n_layer": 2, "n_head": 2, "d_inner": 2 * WIDTH},
        layers=4,
    ),
    "xlm": Family(
        "XLMConfig",
        SEQUENCE,
        {"vocab_size": WORDS, "emb_dim": WIDTH, "n_layers": 2, "n_heads": 2, "pad_index": 0},
        layers=12,
    ),
    "ernie": Family("ErnieConfig", SEQUENCE, ENCODER, layers=13),
    "rembert": Family("RemBertConfig", SEQUENCE, ENCODER | {"input_embedding_size": 8}, layers=14),
    "megatron-bert": Family("MegatronBertConfig", SEQUENCE, ENCODER, layers=13),
    "data2vec-text": Family("Data2VecTextConfig", SEQUENCE, ENCODER | PAD, layers=12),
    "ibert": Family(
        "IBertConfig",
        SEQUENCE,
        ENCODER | PAD,
        refused=NO_LINEAR,
    ),
    "layoutlm": Family("LayoutLMConfig", SEQUENCE, ENCODER, layers=13),
    "xmod": Family(
        "XmodConfig",
        SEQUENCE,
        ENCODER | PAD | {"languages": ["en_XX"], "default_language": "en_XX"},
        layers=16,
    ),
}
