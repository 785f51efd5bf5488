"""Gradient-flow analysis: measures how gradients change on their way back through time.

The measures are pure functions of `(cell, params, xs)`, time first, for any number of batch axes.
All can be jitted, with the cell and the options static. They compute in float32, or in float64 if
`xs` is float64.
"""

from seqjax.gradflow._clipping import ClippingStatistics as ClippingStatistics
from seqjax.gradflow._clipping import clipping_statistics as clipping_statistics
from seqjax.gradflow._gates import Saturation as Saturation
from seqjax.gradflow._gates import gate_activations as gate_activations
from seqjax.gradflow._gates import gate_preactivations as gate_preactivations
from seqjax.gradflow._gates import retention as retention
from seqjax.gradflow._gates import saturation as saturation
from seqjax.gradflow._gates import time_scale as time_scale
from seqjax.gradflow._groups import gradient_norms as gradient_norms
from seqjax.gradflow._jacobians import step_jacobians as step_jacobians
from seqjax.gradflow._lyapunov import lyapunov_exponents as lyapunov_exponents
from seqjax.gradflow._norms import NormSummary as NormSummary
from seqjax.gradflow._norms import state_gradient_norms as state_gradient_norms
from seqjax.gradflow._norms import state_gradients as state_gradients
from seqjax.gradflow._norms import summarise_norms as summarise_norms
from seqjax.gradflow._online import OnlineBias as OnlineBias
from seqjax.gradflow._online import online_bias as online_bias
from seqjax.gradflow._plots import plot_gradient_norms as plot_gradient_norms
from seqjax.gradflow._plots import plot_lyapunov as plot_lyapunov
from seqjax.gradflow._plots import plot_saturation as plot_saturation
from seqjax.gradflow._plots import plot_singular_values as plot_singular_values
from seqjax.gradflow._probe import Probe as Probe
from seqjax.gradflow._probe import make_probe as make_probe
from seqjax.gradflow._singular import product_singular_values as product_singular_values
from seqjax.gradflow._spectra import Spectrum as Spectrum
from seqjax.gradflow._spectra import largest_singular_value as largest_singular_value
from seqjax.gradflow._spectra import recurrent_spectra as recurrent_spectra
from seqjax.gradflow._spectra import spectral_radius as spectral_radius
from seqjax.gradflow._truncation import TruncationBias as TruncationBias
from seqjax.gradflow._truncation import truncation_bias as truncation_bias
