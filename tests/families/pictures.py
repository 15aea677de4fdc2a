"""Models of pictures."""

from typing import Any

from tests.families.family import IMAGES, PROJECTIONS, WIDTH, WORDS, Family

VIT: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 2 * WIDTH,
    "image_size": 8,
    "patch_size": 4,
    "initializer_range": 0.2,
}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1]}
TEXT = {"vocab_size": WORDS, "hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2}
BOTH = {"vision_config": VIT, "text_config": TEXT | {"intermediate_size": 32}}
SWIN = {
    "image_size": 32,
    "patch_size": 4,
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [1, 2],
    "window_size": 4,
}

PICTURES: dict[str, Family] = {
    "vit": Family("ViTConfig", IMAGES, VIT, 12, PROJECTIONS),
    "deit": Family("DeiTConfig", IMAGES, VIT | {"architectures": ["DeiTForImageClassification"]}),
    "beit": Family("BeitConfig", IMAGES, VIT),
    "data2vec-vision": Family("Data2VecVisionConfig", IMAGES, VIT),
    "dinov2": Family("Dinov2Config", IMAGES, VIT),
    "dinov2_with_registers": Family("Dinov2WithRegistersConfig", IMAGES, VIT),
    "swin": Family("SwinConfig", IMAGES, SWIN, pixels=32),
    "swinv2": Family("Swinv2Config", IMAGES, SWIN, pixels=32),
    "clip": Family("CLIPConfig", IMAGES, BOTH | {"projection_dim": WIDTH}),
    "siglip": Family("SiglipConfig", IMAGES, BOTH),
    "convnext": Family("ConvNextConfig", IMAGES, STAGES | {"num_stages": 2}, pixels=32),
    "convnextv2": Family("ConvNextV2Config", IMAGES, STAGES | {"num_stages": 2}, pixels=32),
    "resnet": Family("ResNetConfig", IMAGES, STAGES | {"embedding_size": 8}, pixels=32),
    "regnet": Family(
        "RegNetConfig", IMAGES, STAGES | {"embedding_size": 8, "groups_width": 8}, pixels=32
    ),
    "poolformer": Family(
        "PoolFormerConfig",
        IMAGES,
        {
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "num_encoder_blocks": 2,
            "patch_sizes": [3, 3],
            "strides": [2, 2],
            "padding": [1, 1],
        },
        pixels=32,
    ),
    "segformer": Family(
        "SegformerConfig",
        IMAGES,
        {
            "num_encoder_blocks": 2,
            "depths": [1, 1],
            "sr_ratios": [2, 1],
            "hidden_sizes": [8, 16],
            "patch_sizes": [3, 3],
            "strides": [2, 2],
            "num_attention_heads": [1, 2],
            "mlp_ratios": [2, 2],
            "decoder_hidden_size": 16,
        },
        pixels=32,
    ),
    "mobilevit": Family(
        "MobileViTConfig",
        IMAGES,
        {
            "image_size": 32,
            "hidden_sizes": [8, 8, 8],
            "neck_hidden_sizes": [4, 4, 8, 8, 8, 8, 16],
            "num_attention_heads": 2,
        },
        pixels=32,
    ),
    "mobilenet_v2": Family(
        "MobileNetV2Config", IMAGES, {"image_size": 32, "depth_multiplier": 0.25}, pixels=32
    ),
    "hiera": Family(
        "HieraConfig",
        IMAGES,
        {
            "image_size": [32, 32],
            "embed_dim": 8,
            "depths": [1, 1],
            "num_heads": [1, 2],
            "query_stride": [2, 2],
            "num_query_pool": 1,
            "masked_unit_size": [4, 4],
        },
        pixels=32,
    ),
    "focalnet": Family(
        "FocalNetConfig",
        IMAGES,
        {
            "image_size": 32,
            "embed_dim": 8,
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "focal_levels": [1, 1],
            "focal_windows": [3, 3],
        },
        pixels=32,
    ),
}
