"""What steps make for people of their own hospital, and a hospital writes down for them: it never leaves."""

from __future__ import annotations

from confrere.study.own_balance import OwnBalance
from confrere.study.own_measures import OwnMeasures
from confrere.study.worklist import Worklist

Own = OwnBalance | OwnMeasures  # for stewards, under the study
Kept = Worklist | Own
