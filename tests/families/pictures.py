"""Models of pictures."""

from typing import Any

from tests.families.family import IMAGES, NO_LINEAR, PROJECTIONS, WIDTH, WORDS, Family

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
POOLFORMER = {
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "num_encoder_blocks": 2,
    "patch_sizes": [3, 3],
    "strides": [2, 2],
    "padding": [1, 1],
}
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
    "deit": Family(
        "DeiTConfig", IMAGES, VIT | {"architectures": ["DeiTForImageClassification"]}, layers=12
    ),
    "beit": Family("BeitConfig", IMAGES, VIT, layers=12),
    "data2vec-vision": Family("Data2VecVisionConfig", IMAGES, VIT, layers=12),
    "dinov2": Family("Dinov2Config", IMAGES, VIT, layers=12),
    "dinov2_with_registers": Family("Dinov2WithRegistersConfig", IMAGES, VIT, layers=12),
    "swin": Family("SwinConfig", IMAGES, SWIN, pixels=32, layers=13),
    "swinv2": Family("Swinv2Config", IMAGES, SWIN, pixels=32, layers=16),
    "clip": Family("CLIPConfig", IMAGES, BOTH | {"projection_dim": WIDTH}, layers=12),
    "siglip": Family(
        "SiglipConfig", IMAGES, BOTH, lora={"exclude": ["head.mlp.fc1", "head.mlp.fc2"]}, layers=12
    ),
    "convnext": Family("ConvNextConfig", IMAGES, STAGES | {"num_stages": 2}, pixels=32, layers=4),
    "convnextv2": Family(
        "ConvNextV2Config", IMAGES, STAGES | {"num_stages": 2}, pixels=32, layers=4
    ),
    "resnet": Family(
        "ResNetConfig", IMAGES, STAGES | {"embedding_size": 8}, pixels=32, refused=NO_LINEAR
    ),
    "resnet, its convolutions": Family(
        "ResNetConfig",
        IMAGES,
        STAGES | {"embedding_size": 8},
        pixels=32,
        lora={"targets": ["convolution"]},
        layers=8,
    ),
    "regnet": Family(
        "RegNetConfig",
        IMAGES,
        STAGES | {"embedding_size": 8, "groups_width": 8},
        pixels=32,
        refused=NO_LINEAR,
    ),
    "poolformer": Family("PoolFormerConfig", IMAGES, POOLFORMER, pixels=32, refused=NO_LINEAR),
    "poolformer, its convolutions": Family(
        "PoolFormerConfig",
        IMAGES,
        POOLFORMER,
        pixels=32,
        lora={"targets": ["conv1", "conv2"]},
        refused="its name ends like that of a head",
    ),
    "mobilenet_v2, its convolutions": Family(
        "MobileNetV2Config",
        IMAGES,
        {"image_size": 32, "depth_multiplier": 0.25},
        pixels=32,
        lora={"targets": ["convolution"]},
        refused="nn.Conv2d with groups or dilation",
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
        layers=12,
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
        layers=54,
    ),
    "mobilenet_v2": Family(
        "MobileNetV2Config",
        IMAGES,
        {"image_size": 32, "depth_multiplier": 0.25},
        pixels=32,
        refused=NO_LINEAR,
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
        layers=9,
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
        layers=8,
    ),
}
