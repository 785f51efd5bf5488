"""Simple models that any recurrent one must beat to be worth its cost."""

from seqjax.floors import naive_bayes_logistic as naive_bayes_logistic
from seqjax.floors.classes import NearestMean as NearestMean
from seqjax.floors.classes import RidgeClasses as RidgeClasses
from seqjax.floors.classes import fit_nearest_mean as fit_nearest_mean
from seqjax.floors.classes import fit_ridge_classes as fit_ridge_classes
from seqjax.floors.classes import majority_class as majority_class
from seqjax.floors.classes import segment_means as segment_means
from seqjax.floors.cross_fitting import CrossFit as CrossFit
from seqjax.floors.cross_fitting import calibration as calibration
from seqjax.floors.cross_fitting import cross_fit as cross_fit
from seqjax.floors.cross_fitting import stacking_weights as stacking_weights
from seqjax.floors.forecast import fit_ridge_forecast as fit_ridge_forecast
from seqjax.floors.forecast import persistence as persistence
from seqjax.floors.forecast import ridge_forecast as ridge_forecast
from seqjax.floors.forecast import seasonal as seasonal
from seqjax.floors.ngrams import NGrams as NGrams
from seqjax.floors.ngrams import fit_ngrams as fit_ngrams
from seqjax.floors.notes import note_rates as note_rates
from seqjax.floors.notes import note_repetition as note_repetition
from seqjax.floors.ridge import Ridge as Ridge
from seqjax.floors.ridge import fit_ridge as fit_ridge
from seqjax.floors.ridge import lagged as lagged
from seqjax.floors.tag_lexicon import TagLexicon as TagLexicon
from seqjax.floors.tag_lexicon import fit_tag_lexicon as fit_tag_lexicon
from seqjax.floors.translation_lexicon import TranslationLexicon as TranslationLexicon
from seqjax.floors.translation_lexicon import fit_translation_lexicon as fit_translation_lexicon
