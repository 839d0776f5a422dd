"""Attacks (DESIGN 8, law 7): what the coordinator can make of everything that a run let it see.

    people       generated patients and the hospitals that hold them
    view         drive an analysis through every hospital's gate and write down what the coordinator sees
    detectors    structure (a), smooth (b), membership: what a view identifies of whom
    cases        one attack case per registered analysis, by its name
    controls     leaky analyses which the detectors must catch (d)
    wire         a whole run in memory: keys, masks, gate, followed flow; and coordinators that lie (c)

Every registered analysis inherits (a), (b) and membership by having a case; `test_cases` fails where one has none.
"""
