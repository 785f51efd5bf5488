"""Weights from and to Keras, PyTorch and Flax, files of them, and models that run without us.

What other frameworks call a layer's arrays, in which order their gates stand and with which sign is
one table, `conventions.py`. None of them is imported: weights are names and arrays.
"""

from seqjax.convert._errors import ConvertError as ConvertError
from seqjax.convert._export import export as export
from seqjax.convert._files import read_safetensors as read_safetensors
from seqjax.convert._files import write_safetensors as write_safetensors
from seqjax.convert._pretrained import load_pretrained as load_pretrained
from seqjax.convert._pretrained import save_pretrained as save_pretrained
from seqjax.convert._weights import dump as dump
from seqjax.convert._weights import dump_params as dump_params
from seqjax.convert._weights import load as load
from seqjax.convert._weights import load_params as load_params
