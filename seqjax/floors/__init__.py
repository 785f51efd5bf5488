"""Simple models that any recurrent one must beat to be worth its cost."""

from seqjax.floors._forecast import fit_ridge_forecast as fit_ridge_forecast
from seqjax.floors._forecast import persistence as persistence
from seqjax.floors._forecast import seasonal as seasonal
from seqjax.floors._naive_bayes_logistic import NaiveBayesLogistic as NaiveBayesLogistic
from seqjax.floors._naive_bayes_logistic import fit_naive_bayes_logistic as fit_naive_bayes_logistic
from seqjax.floors._ngrams import NGrams as NGrams
from seqjax.floors._ngrams import fit_ngrams as fit_ngrams
from seqjax.floors._ridge import fit_ridge as fit_ridge
from seqjax.floors._ridge import fit_ridge_classes as fit_ridge_classes
from seqjax.floors._ridge import lagged as lagged
from seqjax.floors._tag_lexicon import TagLexicon as TagLexicon
from seqjax.floors._tag_lexicon import fit_tag_lexicon as fit_tag_lexicon
from seqjax.floors._translation_lexicon import TranslationLexicon as TranslationLexicon
from seqjax.floors._translation_lexicon import fit_translation_lexicon as fit_translation_lexicon
