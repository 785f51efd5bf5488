"""What `--help` prints: every flag of a program, in four groups, 80 columns wide."""

import sys
import textwrap
from collections.abc import Iterable

from absl import flags

GROUPS = {
    "The run": (
        "workdir resume predict preset seed seeds split_seed sweep mesh coordinator num_processes "
        "process_id cache_dir executor"
    ),
    "The data": (
        "task tasks dataset data_dir path header csv_layout columns drop_columns column "
        "label_column target_columns target_kind group_column time_column missing features "
        "train_size test_size test_fraction validation_fraction train_stride horizon lookback "
        "period length lengths adding_length copying_delay max_length max_digits max_characters "
        "max_seconds max_pause_s max_timescale sampling_rate num_mels stack stride window width "
        "noise permutation_seed source_suffix target_suffix min_count min_frequency vocab_size "
        "punctuation keep segmentation rounds transpose"
    ),
    "The model": (
        "cell cell_options cells inits model hidden_size num_layers encoder_layers decoder_layers "
        "decoder_size embedding_size character_size char_hidden_size affix_size pair_size "
        "pair_buckets head_size pooling segment_length residual restart attention attend_from "
        "input_feeding tie_weights crf linear_path warm_up"
    ),
    "Training": (
        "epochs steps patience batch_size train_batch_size learning_rate schedule weight_decay "
        "gradient clip_norm ema_decay loss label_smoothing soft_labels dropout embedding_dropout "
        "token_dropout word_dropout input_dropout input_noise input_clip feature_masks "
        "feature_mask_size time_masks time_mask_size num_buckets source_buckets target_buckets "
        "select monitor train_inits"
    ),
    "What is measured or answered": (
        "beam_width length_penalty bleu_sentences sample_length temperature top_k top_p ridge_lags "
        "jacobian_examples family_length online eval_every threshold clip_learning_rate "
        "clip_radius clip_steps"
    ),
}
"""The flags of each group; one that is in none is listed last, under "Other"."""

WIDTH = 80


def asked_for(arguments: Iterable[str]) -> bool:
    """Returns whether the page is what a command line wants."""
    return any(each in ("--help", "-help", "-h", "-?") for each in arguments)


def page(program: str, summary: str, values: flags.FlagValues) -> str:
    """Returns the text.

    Args:
      program: how the program is called.
      summary: what it does, in a line.
      values: the flags; those of the program's own modules are listed.
    """
    left = {flag.name: flag for flag in values.get_key_flags_for_module(sys.argv[0])}
    lines = [*textwrap.wrap(summary, WIDTH), "", f"    {program} [--name=value ...]"]
    for title, names in [*GROUPS.items(), ("Other", " ".join(left))]:
        known = [left.pop(name) for name in names.split() if name in left]
        if known:
            lines += ["", f"{title}:"]
            lines += [line for flag in known for line in _lines(flag)]
    return "\n".join([*lines, "", "--helpfull lists the flags of the libraries, too."])


def _lines(flag: flags.Flag) -> list[str]:
    """Returns the name of a flag, and its help beside it or, behind a long name, below it."""
    name, indent = f"  --{flag.name}", " " * 20
    text = " ".join((flag.help or "").split())
    choices = getattr(flag.parser, "enum_values", ())
    text = text.replace(f"<{'|'.join(choices)}>", ", ".join(choices), 1)  # Abseil's form
    wrapped = textwrap.wrap(text, WIDTH - len(indent), break_on_hyphens=False)
    if len(name) >= len(indent):
        return [name, *(indent + line for line in wrapped)]
    return [name.ljust(len(indent)) + wrapped[0], *(indent + line for line in wrapped[1:])]
