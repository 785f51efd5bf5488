"""What `pytest -m quick` runs: a few tests of every package, in all under two minutes."""

# By package, files or tests under tests/.
QUICK = {
    "cells": ["cells/test_cell_layout.py", "cells/test_registry.py"],
    "convert": ["conversions/test_convert_flax.py::test_both_ways"],
    "data": ["data/test_table.py", "data/test_ragged_sequences.py"],
    "decode": ["decode/test_beam.py::test_greedy_search_is_the_beam_of_one"],
    "executors": [
        "unroll/test_unroll_values.py::test_equals_a_plain_loop",
        "unroll/test_unroll_gradients.py::test_learned_initial_state_gets_a_gradient",
    ],
    "experiments": ["experiments/test_regression.py::test_run_folder"],
    "flax": ["doors/test_flax_cells.py::test_ours_in_both_directions"],
    "floors": ["floors/test_ngrams.py"],
    "gradflow": ["gradflow/test_gradflow_norms.py::test_closed_form"],
    "nn": ["nn/test_nn_recurrent.py::test_rnn_is_unroll_batch_first"],
    "online": ["online/test_online_methods.py::test_rflo_is_its_own_step"],
    "train": ["train/test_step.py", "train/test_resume.py::test_same_bits"],
    "transforms": ["transforms/test_transforms.py::test_zoneout_keeps_each_field_by_its_own_draw"],
}
