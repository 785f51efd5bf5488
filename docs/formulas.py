"""Draws formulas as MathML when the site is built: browsers show it without a script or a network.

The translation is that of docutils, which Sphinx needs anyway.
"""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

_LOGGER = logging.getLogger(__name__)


def inline(translator, node: nodes.math) -> None:
    """Writes a formula in a line of text."""
    translator.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def block(translator, node: nodes.math_block) -> None:
    """Writes a formula between paragraphs; one that is too wide scrolls by itself."""
    translator.body.append(f'<div class="math">{_mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(node: nodes.Element, *, as_block: bool) -> str:
    try:
        return tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        _LOGGER.warning("a formula cannot be drawn: %s", error, location=node)
        return ""


def setup(app: Sphinx) -> None:
    """Makes the renderer known to Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
