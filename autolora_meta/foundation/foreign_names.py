"""Settings of Trainer, PEFT, TRL, axolotl and others, and what they are called here.

Names such as `lora_r` or `num_train_epochs` are spelled too differently from ours for a nearest
name to help.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Foreign:
    """A setting of another tool, and its counterpart here.

    Args:
        ours: the settings that do the same, dotted; empty if there is none.
        words: how they differ, or why there is none.
    """

    ours: tuple[str, ...]
    words: str

    def __str__(self) -> str:
        """Return a clause for a message, to stand after the unknown key.

        >>> str(Foreign(("lora.targets",), ""))
        'here it is lora.targets'
        """
        if not self.ours:
            return f"there is none here: {self.words}"
        found = f"here it is {' or '.join(self.ours)}"
        return f"{found}: {self.words}" if self.words else found


_RATES = ("retrain.learning_rate", "search.inner.learning_rate", "search.outer.learning_rate")
_BATCHES = ("retrain.batch_size", "search.batch_size")
_BITS = "nf4 or int8; a base that is quantised otherwise can be searched from Python (search_model)"
_NO_VARIANT = "gates act on the components of plain LoRA, B A x, which it has not"
_NO_SAVING = "a run saves its adapter once, at the end; a study goes on where it was stopped"
_NO_CHOICE = (
    "the adapter of the last step is kept; choosing by test rows would make its figures too good"
)

# Names that mean the same, the settings of ours, and what to know.
_TABLE: tuple[tuple[str, tuple[str, ...], str], ...] = (
    # -- length and batches
    (
        "epochs num_epochs num_train_epochs n_epochs max_epochs",
        ("retrain.epochs", "search.epochs"),
        "in place of steps",
    ),
    ("max_steps num_steps train_steps total_steps", ("retrain.steps", "search.outer_steps"), ""),
    (
        "per_device_train_batch_size micro_batch_size train_batch_size per_gpu_train_batch_size",
        _BATCHES,
        "",
    ),
    (
        "per_device_eval_batch_size val_batch_size per_gpu_eval_batch_size",
        ("retrain.eval_batch_size",),
        "",
    ),
    (
        "gradient_accumulation_steps gradient_accumulation accumulate_grad_batches",
        ("retrain.accumulate", "search.accumulate"),
        "passes that make one step",
    ),
    ("auto_find_batch_size", (), "set retrain.batch_size and search.batch_size"),
    # -- optimizer
    ("lr", _RATES, ""),
    ("embedding_lr loraplus_lr_ratio", (), "all factors share one rate, retrain.learning_rate"),
    ("wd decay", ("retrain.weight_decay", "search.inner.weight_decay"), ""),
    ("lr_scheduler lr_scheduler_type scheduler", ("retrain.schedule",), ""),
    ("warmup_ratio num_warmup_steps", ("retrain.warmup",), "a share of the steps, below 1"),
    (
        "warmup_steps",
        ("retrain.warmup", "search.warmup_steps"),
        "the first is a share of the steps in which the rate rises, the second a number of steps "
        "before the gates move",
    ),
    (
        "optim optimizer optimizer_type",
        ("search.inner.name", "search.outer.name"),
        "retraining is by AdamW",
    ),
    (
        "adam_beta1 adam_beta2 adam_epsilon",
        (),
        "AdamW has torch's own; the search takes search.inner.name and search.inner.momentum",
    ),
    ("max_norm gradient_clipping clip_grad_norm", ("retrain.max_grad_norm",), ""),
    ("label_smoothing_factor label_smoothing", (), "the loss is the task's own, plain"),
    ("neftune_noise_alpha", (), "noise that is drawn anew cannot be replayed in a hypergradient"),
    # -- LoRA
    (
        "r rank lora_r lora_rank",
        ("lora.k", "ranks.budget"),
        "lora.k is the largest rank of a layer in the search, and ranks.budget=uniform:R as many "
        "parameters as rank R in every layer would have",
    ),
    (
        "lora_alpha alpha",
        ("lora.scale",),
        "the constant in front of B A in every layer, which is lora_alpha / r; 16 / 8 is 2",
    ),
    ("lora_dropout", ("lora.dropout",), ""),
    ("exclude_modules lora_exclude_modules", ("lora.exclude",), ""),
    (
        "target_modules lora_target_modules lora_target lora_target_linear lora_modules "
        "target_parameters",
        ("lora.targets",),
        "a list of names, or all-linear, or default",
    ),
    (
        "layers_to_transform layers_pattern lora_layers_to_transform peft_layers_to_transform",
        ("lora.targets",),
        "a list of names; a layer that earns nothing gets rank 0 by itself",
    ),
    ("rank_pattern lora_rank_pattern alpha_pattern", (), "it is what a search finds, ranks.json"),
    (
        "modules_to_save lora_modules_to_save",
        (),
        "the head is found and trained in full by itself; of a model of your own, "
        "search_model(..., head=[...]) names it",
    ),
    ("use_dora peft_use_dora dora use_qalora", (), _NO_VARIANT),
    (
        "use_rslora peft_use_rslora rslora",
        ("lora.scale",),
        "one constant whatever the rank takes the place of alpha / sqrt(r)",
    ),
    (
        "init_lora_weights peft_init_lora_weights loftq_config eva_config corda_config",
        (),
        "factors start as in PEFT's default; EVA's ranks are an arm (compare.arms)",
    ),
    (
        "bias lora_bias fan_in_fan_out",
        (),
        "biases stay as they are; kinds of layers are told apart",
    ),
    ("task_type", ("task.type",), ""),
    ("adapter peft_type finetuning_type peft", (), "it is always LoRA, with ranks by layer"),
    ("peft_config lora_config", ("lora.k", "lora.scale", "lora.targets", "lora.dropout"), ""),
    # -- model
    (
        "base_model model_name_or_path base_model_name_or_path model_id model_name_or_id "
        "pretrained_model_name_or_path model_name model_path model_type",
        ("model.name",),
        "",
    ),
    (
        "base_model_config tokenizer_config tokenizer tokenizer_name tokenizer_type",
        ("model.name",),
        "the folder that holds the tokenizer beside the model",
    ),
    ("model_revision", ("model.revision",), ""),
    ("torch_dtype", ("model.dtype",), ""),
    (
        "attn_implementation flash_attention flash_attn sdp_attention xformers_attention "
        "use_flash_attention_2",
        ("model.attention",),
        "sdpa or eager",
    ),
    (
        "load_in_4bit load_in_8bit bnb_config quantization_config quantization_bit "
        "bnb_4bit_compute_dtype bnb_4bit_quant_type gptq",
        ("model.quantization",),
        _BITS,
    ),
    (
        "bf16 bfloat16 mixed_precision",
        ("search.precision", "retrain.precision", "model.dtype"),
        "precision=bf16 trains under autocast, model.dtype=bfloat16 stores the base so",
    ),
    (
        "fp16 float16 half",
        ("model.dtype",),
        "model.dtype=float16 stores the base so; what is trained is float32, so that no loss has "
        "to be scaled",
    ),
    (
        "gradient_checkpointing activation_checkpointing",
        ("retrain.gradient_checkpointing", "search.gradient_checkpointing"),
        "",
    ),
    ("torch_compile tf32 use_liger_kernel", (), "the model runs as it is loaded"),
    (
        "deepspeed fsdp fsdp_config accelerator_config ddp_backend local_rank tensor_parallel_size",
        (),
        "a model is searched on one device; runs of a study go side by side (runtime.workers)",
    ),
    ("device_map", ("model.device_map", "runtime.device"), ""),
    ("use_cpu no_cuda gpu gpus cuda n_gpu", ("runtime.device",), ""),
    (
        "num_workers num_proc dataloader_num_workers dataset_num_proc preprocessing_num_workers",
        ("runtime.workers",),
        "processes that run searches and retrainings side by side; rows are held in memory",
    ),
    # -- data
    (
        "dataset datasets dataset_name dataset_path dataset_name_or_path data_path data_files "
        "train_file train_path train_data",
        ("data.source",),
        "a file, a folder, a hub id, or {train: a.csv, test: b.csv}",
    ),
    (
        "validation_file eval_file test_file test_datasets eval_dataset",
        ("data.source",),
        "{train: a.csv, validation: b.csv, test: c.csv}",
    ),
    ("dataset_config dataset_config_name subset task_name", ("data.name",), ""),
    ("dataset_split train_split train_on_split", ("data.splits",), ""),
    (
        "val_set_size val_size validation_split eval_ratio",
        ("data.validation_rows",),
        "rows for the gates, a number or a share",
    ),
    ("test_size test_split_ratio", ("data.test_rows",), "a number of rows or a share"),
    (
        "max_train_samples max_samples max_train_rows num_samples train_size",
        ("data.train_rows",),
        "a number of rows or a share",
    ),
    (
        "max_eval_samples max_val_samples max_predict_samples",
        ("data.validation_rows", "data.test_rows"),
        "",
    ),
    ("text_column text_field dataset_text_field text_column_name input_column", ("data.text",), ""),
    ("label_column label_field label_column_name label_names labels", ("data.label",), ""),
    ("summary_column target_column output_column field_output", ("data.target",), ""),
    (
        "max_seq_length max_seq_len sequence_len seq_len seq_length model_max_length cutoff_len "
        "block_size max_source_length max_target_length max_len",
        ("task.max_length",),
        "",
    ),
    (
        "packing sample_packing eval_sample_packing pad_to_sequence_len pad_to_max_length",
        (),
        "batches are padded to their own longest text (retrain.group_by_length pads less)",
    ),
    ("shuffle data_seed random_state random_seed seed_everything", ("seed",), ""),
    (
        "train_on_inputs completion_only_loss train_on_completions_only",
        ("task.type",),
        "generation trains on the completion alone, causal-lm on the whole text",
    ),
    ("chat_template template prompt_template", (), "texts are taken as they stand in the rows"),
    ("num_labels num_classes id2label label2id", (), "classes are those of the rows"),
    ("problem_type", ("task.type",), "regression, or sequence-classification"),
    # -- evaluation, saving, reports
    ("max_new_tokens generation_max_length", ("task.generation.max_new_tokens",), ""),
    ("num_beams generation_num_beams", ("task.generation.num_beams",), ""),
    ("predict_with_generate", ("task.type",), "generation writes its test rows"),
    (
        "eval_strategy evaluation_strategy eval_steps evals_per_epoch do_eval do_train do_predict",
        (),
        "the test rows are measured once, at the end",
    ),
    ("load_best_model_at_end metric_for_best_model greater_is_better", (), _NO_CHOICE),
    ("early_stopping_patience early_stopping", ("search.patience",), "of the search"),
    ("compute_metrics metric metrics", ("compare.metrics",), ""),
    (
        "save_strategy save_steps saves_per_epoch save_total_limit resume_from_checkpoint",
        (),
        _NO_SAVING,
    ),
    ("logging_steps logging_strategy logging_dir", (), "every step stands in metrics.jsonl"),
    (
        "output_dir out_dir save_dir run_name wandb_name experiment_name wandb_run_id",
        ("name",),
        "the run goes into RUNS/NAME; RUNS is given as --runs",
    ),
    ("overwrite_output_dir", (), "replace a run with --overwrite"),
    (
        "wandb wandb_project use_wandb use_tensorboard mlflow_tracking_uri",
        ("runtime.report_to",),
        "",
    ),
    ("push_to_hub hub_model_id hub_token", (), "upload the run's adapter/ folder as it stands"),
    ("n_seeds num_seeds num_runs n_runs num_replicates", ("compare.replicates",), ""),
)

FOREIGN: Mapping[str, Foreign] = {
    name: Foreign(ours, words) for names, ours, words in _TABLE for name in names.split()
}


def foreign(key: str) -> Foreign | None:
    """Return the counterpart of another tool's setting, found by the last part of a dotted key.

    >>> foreign("training.per-device-train-batch-size").ours
    ('retrain.batch_size', 'search.batch_size')
    """
    return FOREIGN.get(key.rpartition(".")[2].lower().replace("-", "_"))
