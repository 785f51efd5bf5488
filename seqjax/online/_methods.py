"""Online methods by short name."""

from seqjax.online._eprop import EProp
from seqjax.online._method import Method
from seqjax.online._rflo import RFLO
from seqjax.online._rtrl import RTRL
from seqjax.online._snap import SnAp1
from seqjax.online._uoro import UORO

METHODS: dict[str, type[Method]] = {
    "rtrl": RTRL,
    "snap1": SnAp1,
    "uoro": UORO,
    "eprop": EProp,
    "rflo": RFLO,
}
"""Methods by short name."""
