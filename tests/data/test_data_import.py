import subprocess
import sys


def test_importing_data_is_light():
    program = (
        "import sys; import seqjax.data;"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'tokenizers', 'scipy', 'matplotlib',"
        "'pandas', 'pooch', 'requests'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    # `import seqjax` may bring what it needs; `data` adds nothing to it.
    before = program.replace("import seqjax.data", "import seqjax")
    outputs = [
        subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, check=True
        ).stdout
        for text in (program, before)
    ]
    assert outputs[0] == outputs[1]
    for name in ("tensorflow", "tokenizers", "matplotlib", "pandas", "pooch"):
        assert name not in outputs[0]
