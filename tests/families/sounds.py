"""Models of sounds, which no task of ours feeds."""

from tests.families.family import CLASSES, ENCODER, NO_TASK, WIDTH, WORDS, Family

SPEECH = ENCODER | {"conv_dim": [8], "conv_stride": [4], "conv_kernel": [8]}
WHISPER = {
    "vocab_size": WORDS,
    "num_mel_bins": 8,
    "d_model": WIDTH,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_source_positions": 16,
    "max_target_positions": 16,
    "pad_token_id": 0,
    "num_labels": CLASSES,
}
SOUND = "AudioClassification"

SOUNDS: dict[str, Family] = {
    "wav2vec2": Family(
        "Wav2Vec2Config",
        SOUND,
        SPEECH,
        refused=NO_TASK,
    ),
    "hubert": Family(
        "HubertConfig",
        SOUND,
        SPEECH,
        refused=NO_TASK,
    ),
    "whisper": Family(
        "WhisperConfig",
        "SpeechSeq2Seq",
        WHISPER,
        refused=NO_TASK,
    ),
}
