"""Simple models that any recurrent one must beat to be worth its cost."""

from seqjax.floors import naive_bayes_logistic as naive_bayes_logistic
from seqjax.floors.cross_fitting import CrossFit as CrossFit
from seqjax.floors.cross_fitting import calibration as calibration
from seqjax.floors.cross_fitting import cross_fit as cross_fit
from seqjax.floors.cross_fitting import stacking_weights as stacking_weights
from seqjax.floors.forecast import fit_ridge_forecast as fit_ridge_forecast
from seqjax.floors.forecast import persistence as persistence
from seqjax.floors.forecast import ridge_forecast as ridge_forecast
from seqjax.floors.forecast import seasonal as seasonal
from seqjax.floors.lexicon import Lexicon as Lexicon
from seqjax.floors.lexicon import fit_lexicon as fit_lexicon
from seqjax.floors.ridge import Ridge as Ridge
from seqjax.floors.ridge import fit_ridge as fit_ridge
from seqjax.floors.ridge import lagged as lagged
