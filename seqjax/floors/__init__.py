"""Simple models that any recurrent one must beat to be worth its cost."""

from seqjax.floors import naive_bayes_logistic as naive_bayes_logistic
from seqjax.floors.cross_fitting import CrossFit as CrossFit
from seqjax.floors.cross_fitting import calibration as calibration
from seqjax.floors.cross_fitting import cross_fit as cross_fit
from seqjax.floors.cross_fitting import stacking_weights as stacking_weights
