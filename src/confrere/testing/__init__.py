"""What every analysis must obey, for whoever writes one: the laws of DESIGN 8, on generated people.

    import pytest
    from confrere.rounds import find
    from confrere.testing import LAWS, SCHEMA, Case, Ground

    CASE = Case(find("linear")("y ~ x1 + x2", ground=Ground(SCHEMA)), terms=("x1", "x2"))

    @pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
    def test_law(law):
        law(CASE)

A law is a function of a case that raises AssertionError and says what differs. It needs no test framework.

people  generated patients with every kind of column
runs    an analysis over frames, in the clear or masked; whether two findings agree
laws    the laws and their cases
"""

from confrere.study.ground import Ground
from confrere.testing.laws import LAWS, Case
from confrere.testing.people import HOSPITALS, SCHEMA, patients
from confrere.testing.runs import EXACT, GATE, LOOSE, apart, dealt, fit, found, masked, typed

__all__ = [
    "EXACT", "GATE", "HOSPITALS", "LAWS", "LOOSE", "SCHEMA", "Case", "Ground", "apart", "dealt", "fit", "found",
    "masked", "patients", "typed",
]  # fmt: skip
