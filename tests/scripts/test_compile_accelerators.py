"""What the compile for accelerators reads of a program, and what it refuses."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import compile_notebook  # noqa: E402
import compiled_program  # noqa: E402

# Three passes of a loop with a fusion and, four times a pass, a copy; then a loop of the backward
# pass, whose condition alone says that it runs five times; one product outside.
PROGRAM = """HloModule jit_f

%inner (a.1: (s32[], f32[2])) -> (s32[], f32[2]) {
  %a.1 = (s32[], f32[2]{0}) parameter(0)
  %b.1 = f32[2]{0} get-tuple-element(%a.1), index=1
  ROOT %copy.1 = f32[2]{0} copy(%b.1)
}

%outer (a.2: (s32[], f32[2])) -> (s32[], f32[2]) {
  %a.2 = (s32[], f32[2]{0:T(8,128)S(1)}) parameter(0)
  %c.2 = (s32[], f32[2]{0:T(8,128)S(1)}) while(%a.2), condition=%any, body=%inner, \
backend_config={"known_trip_count":{"n":"4"}}
  ROOT %fusion.2 = (s32[], f32[2]{0}) fusion(%c.2), kind=kLoop, calls=%fused
}

%five (a.3: (s32[], f32[2])) -> pred[] {
  %constant.3 = s32[]{:T(128)} constant(5)
  ROOT %lt.3 = pred[] compare(%a.3, %constant.3), direction=LT
}

ENTRY %main (a.4: (s32[], f32[2])) -> f32[2] {
  %a.4 = (s32[], f32[2]{0}) parameter(0)
  %buffer.4 = f32[2]{0} custom-call(), custom_call_target="AllocateBuffer"
  %while.4 = (s32[], f32[2]{0}) while(%a.4), condition=%any, body=%outer, \
metadata={op_name="jit(f)/jvp()/while"}, backend_config={"known_trip_count":{"n":"3"}}
  %while.5 = (s32[], f32[2]{0}) while(%while.4), condition=%five, body=%inner, \
metadata={op_name="jit(f)/transpose(jvp())/while"}
  %all-reduce.4 = f32[2]{0} all-reduce(%while.5), to_apply=%add
  ROOT %dot.4 = f32[2]{0} dot(%all-reduce.4, %all-reduce.4)
}
""".replace("\\\n", "")


def test_kernels_are_counted_as_often_as_they_run():
    kernels = compiled_program.count_kernels(PROGRAM)
    assert kernels == (3 * (1 + 4), 5, 2)


def test_an_exchange_in_a_loop_is_refused():
    compiled_program.check_exchange(PROGRAM, {"all-reduce"})
    with pytest.raises(RuntimeError, match="outside"):
        compiled_program.check_exchange(PROGRAM, set())
    waiting = PROGRAM.replace(" copy(", " all-gather-start(")
    with pytest.raises(RuntimeError, match=r"\['all-gather'\] in loops"):
        compiled_program.check_exchange(waiting, {"all-reduce"})


def test_exchanges_are_counted_as_often_as_they_happen():
    waiting = PROGRAM.replace(" copy(", " all-gather-start(")
    assert compiled_program.count_exchanges(PROGRAM) == {"all-reduce": (0, 1, 8 / 2**20)}
    assert compiled_program.count_exchanges(waiting)["all-gather"][:2] == (3 * 4 + 5, 0)


def test_products_in_bfloat16_are_counted():
    program = """
  %a = bf16[8,4]{1,0} parameter(0)
  %b = bf16[4,2]{1,0} fusion(%a), kind=kLoop
  %c = f32[8,2]{1,0} convolution(%a, %b), dim_labels=bf_io->bf
  %d = f32[2,2]{1,0} dot(%c, %b), lhs_contracting_dims={0}
"""
    assert compile_notebook.count_products(program) == (1, 2)


def test_cells_of_the_notebook_are_run_until_there_is_a_step(monkeypatch, tmp_path):
    notebook = tmp_path / "some.ipynb"
    monkeypatch.setattr(compile_notebook, "NOTEBOOK", notebook)
    codes = ["SMALL = True", "step = state = not SMALL", "batch = 8", "1 / 0"]
    cells = [{"cell_type": "code", "source": [code]} for code in codes]
    notebook.write_text(json.dumps({"cells": [{"cell_type": "markdown"}, *cells]}))
    names = compile_notebook.run_notebook()
    assert names["step"]
    assert names["batch"] == 8


def run(*flags, script="compile_accelerators"):
    command = [sys.executable, str(SCRIPTS / f"{script}.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("flag", ["--targets=abacus", "--cells=abacus"])
def test_what_is_unknown_is_named(flag):
    done = run(flag)
    assert done.returncode == 2
    assert "abacus; the known ones are" in done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is not None, reason="the compiler is installed"
)
def test_a_missing_compiler_is_one_line():
    done = run("--targets=v6e")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot compile for v6e: its compiler is not installed" in done.stderr
    done = run(script="compile_notebook")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "its compiler is not installed" in done.stderr
