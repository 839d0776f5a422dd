"""What the steps of the methods of this package do, in their own words, so that they have their French.

A method of a plug-in says what its steps do in English; pages mark that as English.
"""

from typing import Final

from confrere.console.pages.languages import N_

STEPS: Final = (
    N_("The same, and the information."),
    N_("Score test of a coefficient that drifts with g(t): `transform` of time, standardised by `clock`."),
    N_("Sums of squares of score residuals, for the robust variance."),
    N_("Comparable pairs within this hospital and its strata."),
    N_("Log-likelihood and score at standardised coefficients."),
    N_("Sum over people of squared influence on the concordance `c`, of `total` comparable pairs."),
    N_("Raw moments for standardising."),
    N_("People by group and merged cell."),
    N_("People by block and group."),
    N_("People by group and level; 0 where suppressed."),
    N_("Sums by group, missing values as 0."),
    N_("Second moments about the means (groups, p) in units of `scale` (p,)."),
    N_("Products of standardised terms, where there is no intercept to start from."),
    N_("The same, and the expected information."),
    N_("The expected information, for the variance."),
    N_("The same at the maximum: the observed information, and Pearson's chi-squared."),
    N_("Sums of squares of scores, for the robust variance."),
    N_("`curve` of the model of an intercept and the offset."),
    N_("`slope` of the model of an intercept and the offset."),
    N_("Log-likelihood and score."),
    N_("Raw moments, for the frame."),
    N_("Products of standardised terms and outcome."),
    N_("Raw moments for standardising, of the outcome less the offset."),
    N_("Observed, expected and variance of this hospital and its strata."),
    N_("People by merged cell: ruled out at each criterion, to be checked, eligible."),
    N_("The people who are not ruled out: their rows stay in the hospital, as a worklist for its clinicians."),
    N_("Kinds of exits on the ladder, for the people of the groups that are shown."),
    N_("Groups that may be, and exits on a coarse ladder."),
    N_("Sums of weights on each kind's own grid, the kinds one below the other."),
    N_("Raw terms, event, and risk sets."),
    N_("Raw terms and outcome."),
    N_("Raw terms, event of the cause, and risk sets in which competing events remain."),
    N_("For every two sets, who is in one of them alone."),
    N_("By how many people of each group what is known of every two blocks differs."),
    N_("The people of each group on the ladder of each variable."),
    N_("One variable, a column for each group: whether a few people carry its sums."),
    N_("Groups that may be, and which variables at least k people miss."),
    N_("What counts and sums rest on. Twins are variables that a few people tell apart."),
    N_("Membership of each shown group (n, groups), event, and risk sets."),
    N_("Where the criteria lead everybody, and whether at least k people have an answer to each."),
    N_("People by merged cell."),
    N_("How far everybody gets."),
    N_("Where the steps lead everybody, and whether at least k people have an answer to each rule."),
    N_("People by merged cell: no entry event, ruled out at each rule, too much unknown, to be checked, eligible."),
    N_("How far everybody got."),
    N_("People by merged cell: not seen or on no list, then each status."),
)
