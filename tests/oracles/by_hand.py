"""Cases small enough to work out on paper, one or more for every method.

Each case is a dictionary: `data` (columns of equal length), the settings it needs, and what must
come out. The working stands in the comment above it. Fractions are left as fractions where that
shows where a number comes from. These cases have far fewer people than the gate lets pass: run
them without thresholds.
"""

from math import acos, cos, exp, log, pi, sqrt

# --- describe ---------------------------------------------------------------------------------
# Group a: 1 2 3 10. Mean 16/4 = 4. Squares about it 9 + 4 + 1 + 36 = 50, sd = sqrt(50/3).
# Type 7 quantile p sits at position 1 + 3p: 1.75 -> 1.75, 2.5 -> 2.5, 3.25 -> 3 + 0.25 * 7 = 4.75.
# Group b: 2 4 6 8 and one missing. Mean 5, squares 9 + 1 + 1 + 9 = 20, sd = sqrt(20/3).
# SMD (b - a) = 1 / sqrt((50/3 + 20/3) / 2) = 1 / sqrt(35/3).
# stage, shares I II III: a 1/2 1/4 1/4 (of 4), b 1/5 2/5 2/5 (of 5). Yang and Dalton without stage I:
# differences (3/20, 3/20); spread of a: 3/16 and -1/16; of b: 6/25 and -4/25; mean spread: diagonal
# (3/16 + 6/25)/2 = 171/800, off -(1/16 + 4/25)/2 = -89/800. For equal differences t the distance is
# t^2 * 2 / (diagonal + off) = (9/400) * 2 * 800/82 = 18/41.
DESCRIBE = {
    "data": {
        "group": ["a"] * 4 + ["b"] * 5,
        "value": [1, 2, 3, 10, 2, 4, 6, 8, None],
        "stage": ["I", "I", "II", "III", "I", "II", "II", "III", "III"],
    },
    "by": "group",
    "groups": {
        "a": {"n": 4, "missing": 0, "mean": 4.0, "sd": sqrt(50 / 3),
              "quantiles": {0.25: 1.75, 0.5: 2.5, 0.75: 4.75}, "stage": {"I": 2, "II": 1, "III": 1}},
        "b": {"n": 4, "missing": 1, "mean": 5.0, "sd": sqrt(20 / 3),
              "quantiles": {0.25: 3.5, 0.5: 5.0, 0.75: 6.5}, "stage": {"I": 1, "II": 2, "III": 2}},
    },
    "overall": {"n": 8, "missing": 1, "mean": 4.5},
    "smd": {"value": 1 / sqrt(35 / 3), "stage": sqrt(18 / 41)},
}  # fmt: skip

# --- effect -----------------------------------------------------------------------------------
# One confounder of two levels, 12 people. c = 0: treated 1 0, others 1 0 0 0; c = 1: treated 1 1 1 0, others 1 0.
# Risks of the treated 1/2 and 3/4, of the others 1/4 and 1/2; propensities 1/3 and 2/3.
# Standardised to all (half have c): treated (1/2 + 3/4)/2 = 5/8, others 3/8. Difference 1/4, risk ratio 5/3, odds ratio
# (5/3)/(3/5) = 25/9. Weighting by 1/propensity gives the same: (3 * 1 + 3/2 * 3)/12 = 5/8; models that fit every cell
# make standardising, weighting and both one estimator. To the treated (2 and 4): 1/2 * 1/3 + 3/4 * 2/3 = 2/3 and 5/12.
# Influences of a mean times 12: risk of the person's level less the mean (+-1/8), plus weight times residual.
# Treated: 12/64 + (9/4 + 9/4) + 9/4 * (3/16 + 9/16) = 3/16 + 9/2 + 27/16 = 51/8; over 144: 17/384. Others: the same.
# Between them 12/64 over 144 = 1/768: residuals add up to 0 within a level. Difference: 34/384 - 2/768 = 11/128.
# Weights of the treated 3 3 3/2 3/2 3/2 3/2: they count for 12^2 / (2 * 9 + 4 * 9/4) = 144/27 people; the others too.
# Share with c: treated 4/6, others 2/6; variances 2/9 * 6/5 = 4/15: standardised difference (1/3)/sqrt(4/15), then 0.
EFFECT = {
    "data": {
        "c": [0] * 6 + [1] * 6,
        "a": [1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0],
        "y": [1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1, 0],
    },
    "mean": [3 / 8, 5 / 8],
    "mean_att": [5 / 12, 2 / 3],
    "vcov": [[17 / 384, 1 / 768], [1 / 768, 17 / 384]],
    "measures": {"risk difference": (1 / 4, sqrt(11 / 128)), "risk ratio": (log(5 / 3), None),
                 "odds ratio": (log(25 / 9), None)},
    "effective": [144 / 27, 144 / 27],
    "smd": {"before": (1 / 3) / sqrt(4 / 15), "after": 0.0},
}  # fmt: skip

# --- effect on a time to an event ---------------------------------------------------------------
# The people of EFFECT, of whom those with y = 1 have the event at 1 or 3, and the others are followed until 4.
# Weights 3 and 3/2 as above, 12 in each arm. Treated: events at 1 of 3 + 3/2 of 12, at 3 of 3/2 + 3/2 of 15/2: survival
# 5/8, 3/8. Others: 3/2 of 12, 3 of 21/2: 7/8, 5/8. By 3 the risks are the means of EFFECT, and so are their variances:
# nobody is censored before. Means until 4: 1 + 2 * 5/8 + 3/8 = 21/8 and 1 + 2 * 7/8 + 5/8 = 27/8.
# Hazard ratio r (Breslow): 15/2 events of treated = 6 r/(1 + r) + 6 * 15/2 r/(15/2 r + 21/2), so that
# 5/4 (1 + r)(5 r + 7) = r (5 r + 7) + 5 r (1 + r), 15/4 r^2 - 3 r - 35/4 = 0, r = (3 + sqrt(561)/2)/(15/2).
EFFECT_SURVIVAL = {
    "data": {
        "c": EFFECT["data"]["c"],
        "a": EFFECT["data"]["a"],
        "t": [1, 4, 1, 4, 4, 4, 1, 3, 3, 4, 3, 4],
        "e": EFFECT["data"]["y"],
    },
    "effects": {
        ("hazard ratio", None): log((3 + sqrt(561) / 2) / (15 / 2)),
        ("risk difference", 1.0): 1 / 4, ("risk ratio", 1.0): log(3),
        ("risk difference", 3.0): 1 / 4, ("risk ratio", 3.0): log(5 / 3), ("RMST difference", 4.0): -3 / 4,
    },
    "std_error": {("risk difference", 3.0): sqrt(11 / 128)},
    "events": [2, 4],
}  # fmt: skip

# One cell of 10. In either arm two of four are censored in 20 units of time: rate 0.1, weights exp(t/10). Untreated:
# events at 2 and 6, censored at 4 and 8: D = e^0.2 + e^0.6, R = 10 (e^0.2 + e^0.4 + e^0.6 + e^0.8 - 4). Treated: all
# leave at 5, two with the event: D = 2 e^0.5, R = 40 (e^0.5 - 1). Each level of c has as many treated as not: all
# propensities are 1/2.
_RATES = (
    (exp(0.2) + exp(0.6)) / (10 * (exp(0.2) + exp(0.4) + exp(0.6) + exp(0.8) - 4)),
    2 * exp(0.5) / (40 * (exp(0.5) - 1)),
)
EFFECT_STAYING = {
    "data": {
        "a": [0, 0, 0, 0, 1, 1, 1, 1], "c": [0, 0, 1, 1, 0, 0, 1, 1],
        "t": [2, 4, 6, 8, 5, 5, 5, 5], "e": [1, 0, 1, 0, 1, 0, 1, 0],
    },
    "effects": {
        "hazard ratio": log(_RATES[1] / _RATES[0]),
        "risk difference": exp(-10 * _RATES[0]) - exp(-10 * _RATES[1]),
        "RMST difference": (1 - exp(-10 * _RATES[1])) / _RATES[1] - (1 - exp(-10 * _RATES[0])) / _RATES[0],
    },
}  # fmt: skip

# Five negative controls, log ratios -0.2 0 0.2 0.4 0.6, each with standard error 0.2: mean 0.2, squares from it
# 0.16 + 0.04 + 0 + 0.04 + 0.16 = 0.4, over 5 0.08 = sd^2 + 0.2^2: sd^2 = 0.04. An estimate 0.2 + 2 sqrt(0.08) with the
# same standard error is 2 standard deviations over the mean; limits move by 0.2 and widen to 1.96 sqrt(0.08).
# Five positive ones of log ratio 1 at 0.7 + (-0.6 -0.3 0 0.3 0.6): slope 0.5; squares 0.9 / 5 = 0.18 = sd^2 + 0.04.
EFFECT_CONTROLS = {
    "negative": [-0.2, 0.0, 0.2, 0.4, 0.6],
    "positive": [0.1, 0.4, 0.7, 1.0, 1.3],
    "se": 0.2,
    "null": (0.2, 0.2),
    "estimate": 0.2 + 2 * sqrt(0.08),
    "z": 2.0,
    "errors": (0.2, 0.5, 0.2, sqrt(0.14) - 0.2),
}
# E-values: 4/3 + sqrt(4/3 * 1/3) = 2, also of 3/4; of the odds ratio 16/9 of a common outcome (its root), of the hazard
# ratio 1 (no effect) 1; risks 1/4 and 1/3 known without error have the ratio 4/3 as both limits.
EFFECT_E_VALUES = {"risk ratio": 4 / 3, "odds ratio": 16 / 9, "risk difference": (1 / 4, 1 / 3), "e_value": 2.0}

# --- difference in differences ---------------------------------------------------------------
# Four treated from period 2 on, a = 1 2 3 2 and b = 4 5 8 7: changes 3 3 5 5, mean 4, squares from it 4 * 1. Six never,
# a = 0 1 2 0 1 2 and b = 1 1 2 2 2 4: changes 1 0 0 2 1 2, mean 1, squares 4. Effect 3; a person moves it by the
# distance from the mean over the number of people: variance 4/16 + 4/36. Before: before = 1 1 2 2 and 0 0 1 0 0 2,
# changes 0 1 1 0 and 0 1 1 0 1 0: means 1/2 and 1/2, effect 0; squares 4/4 and 6/4: variance 1/16 + (3/2)/36.
PANEL = {
    "data": {
        "began": [2.0] * 4 + [None] * 6,
        "before": [1, 1, 2, 2, 0, 0, 1, 0, 0, 2],
        "a": [1, 2, 3, 2, 0, 1, 2, 0, 1, 2],
        "b": [4, 5, 8, 7, 1, 1, 2, 2, 2, 4],
    },
    "effect": (3.0, sqrt(4 / 16 + 4 / 36)),
    "before": (1.0, 0.0, sqrt(1 / 16 + 1 / 24)),
}  # fmt: skip

# --- clone censor weight ----------------------------------------------------------------------
# Grace 1, followed until 2, one confounder c of two levels; starts are early in nobody's terms: the numbers of either
# level are the same, so that weights do not depend on c. Of each level: two start at 1/2 (one has the event at 3/2),
# one has the event at 1/2, and five are followed to 2 without a start, of whom two have the event at 3/2.
# Starting: 2 starts in 8 * 1/2 + 5 * 1/2 = 13/2 (those who start or have the event wait 1/2; five wait 1): 3 * 1/2 + 5
# = 13/2 and the rate is 4/13. Beyond the grace period 7, of whom 2 have started: weight 7/2. Others' weights: exp(2/13)
# for the event at 1/2, exp(4/13) beyond.
# Others: events exp(2/13) in (0, 1], 2 exp(4/13) in (1, 2]; time 3 * (13/4) (exp(2/13) - 1) + 5 * (13/4) (exp(4/13) -
# 1), then 4 exp(4/13) (three for 1, two for 1/2). Within: 1 event in 7 * 1 + 1/2 = 15/2; then 7/2 in 7/2 * 3/2 = 21/4:
# 2/3.
_E2, _E4 = exp(2 / 13), exp(4 / 13)
_WAIT = 13 / 4 * (3 * (_E2 - 1) + 5 * (_E4 - 1))
STRATEGIES_CASE = {
    "data": {
        "c": [0] * 8 + [1] * 8,
        "start": [0.5, 0.5, None, None, None, None, None, None] * 2,
        "time": [1.5, 2, 0.5, 1.5, 1.5, 2, 2, 2] * 2,
        "event": [1, 0, 1, 1, 1, 0, 0, 0] * 2,
    },
    "risks": [1 - exp(-_E2 / _WAIT - 1 / 2), 1 - exp(-2 / 15 - 2 / 3)],
    "grace": [1 - exp(-_E2 / _WAIT), 1 - exp(-2 / 15)],
}  # fmt: skip

# --- sequential trials ------------------------------------------------------------------------
# Periods end at 1 and 2, trials are followed for 1; both levels of c have the same numbers. Of each level eight are in
# the first trial: two are treated (start at 1/2), of whom one has the event after 1/2; of the others one has it after
# 1/2 and five reach 1. These are the second trial: two are treated (start at 3/2), one of them has the event after 1/2;
# of the three untreated one has it after 1/2. Weights: 8/2 and 8/6, then 5/2 and 5/3. Treated: events 4 + 5/2 = 13/2 in
# 4 * 3/2 + 5/2 * 3/2 = 39/4: hazard 2/3. Untreated: 4/3 + 5/3 = 3 in 4/3 * 11/2 + 5/3 * 5/2 = 23/2: 6/23.
SEQUENTIAL = {
    "data": {
        "c": [0] * 8 + [1] * 8,
        "start": [0.5, 0.5, None, 1.5, 1.5, None, None, None] * 2,
        "time": [1.5, 4, 1.5, 2.5, 4, 2.5, 4, 4] * 2,
        "event": [1, 0, 1, 1, 0, 1, 0, 0] * 2,
    },
    "risks": [1 - exp(-6 / 23), 1 - exp(-2 / 3)],
    "ratio": 23 / 9,
    "arms": [(12, 18, 4), (8, 8, 4)],  # people, person-trials, events
}

# --- cost -------------------------------------------------------------------------------------
# Years until 4, parts until 2 and 4. The untreated die at 1, are censored at 2, die at 3, reach 4. At 2, one of three
# is censored: K = 2/3 later, weights 3/2. Costs 2 4 4 4 and 0 . 3 5: 14/4 + 3/2 * 8/4 = 13/2. Years 1 2 2 2 and 0 . 1
# 2: 7/4 + 3/2 * 3/4 = 23/8, which is the area under Kaplan-Meier's curve too (1 + 2 * 3/4 + 3/8). The treated die at 2,
# or reach 4: costs 6 and 0 4 4 4, in all 9; years 2 4 4 4: 7/2. Differences 5/2 and 5/8: 4 a year.
# Influences of the treated are distances from the mean: 12/16 of costs, 3/16 of years, 6/16 between them. Of the others
# these are -9/2 -5/2 2 5 (costs), and K adds, in quarters, 0 4 -2 -2: of the three at risk, who is censored lifts the
# weights of the others. Squares (81 + 9 + 0 + 36)/4 over 16 = 63/32. Years: -15/8 -7/8 5/8 17/8 and 0 12/8 -6/8 -6/8:
# squares (225 + 25 + 1 + 121)/64 over 16 = 93/256. Products (135 + 15 + 0 + 66)/16 over 16 = 27/32.
COST = {
    "data": {
        "a": [0, 0, 0, 0, 1, 1, 1, 1],
        "time": [1, 2, 3, 4, 2, 4, 4, 4],
        "died": [1, 0, 1, 0, 1, 0, 0, 0],
        "c1": [2, 4, 4, 4, 6, 6, 6, 6],
        "c2": [0, 1, 3, 5, 0, 4, 4, 4],
    },
    "mean": [13 / 2, 23 / 8, 9, 7 / 2],
    "icer": 4.0,
    "vcov": [[3 / 4 + 63 / 32, 3 / 8 + 27 / 32], [3 / 8 + 27 / 32, 3 / 16 + 93 / 256]],
    "net_benefit": (10.0, 10 * 5 / 8 - 5 / 2),
}

# --- prognostic -------------------------------------------------------------------------------
# Outside the trial y is 0 2 at x = 0, 4 6 at x = 2: 1 + 2 x. In it, controls 0 2 and 4 6, treated 2 more. Difference 2.
# About the arm's mean -3 -1 1 3: squares 20, over 16, of both arms 5/2, HC1 8/6 of that. With the score 1 or 5, of
# slope 1, residuals are +-1: 8/16 times 8/5. In an arm the score has variance 4, the outcome 5, covariance 4: r^2 =
# 4/5. Planned with SD^2 = 20/3 and halves: 4 * 20/3, and a fifth of that.
PROGNOSTIC = {
    "data": {
        "trial": [0] * 4 + [1] * 8,
        "a": [None] * 4 + [0] * 4 + [1] * 4,
        "x": [0, 0, 2, 2] * 3,
        "y": [0, 2, 4, 6, 0, 2, 4, 6, 2, 4, 6, 8],
    },
    "learned": [1.0, 2.0],
    "effects": [(2.0, sqrt(10 / 3)), (2.0, sqrt(4 / 5))],
    "r_squared": [4 / 5, 4 / 5],
    "variance": [80 / 3, 16 / 3],
}

# --- boosting ---------------------------------------------------------------------------------
# x = 0 0 0 9 9 9, y = 1 1 1 3 5 7: mean 3, where scores begin. The only cut parts the two x. Squared loss, no penalty:
# a leaf is the mean of what is left, times 1/2. First tree: -2 and 2, so scores 3 - 1 = 2 and 3 + 1 = 4.
# Second: what is left is -1 on average, and 1, so 2 - 1/2 = 3/2 and 4 + 1/2 = 9/2.
BOOSTING = {
    "data": {"x": [0, 0, 0, 9, 9, 9], "y": [1, 1, 1, 3, 5, 7]},
    "base": (3.0,),
    "scores": [1.5, 1.5, 1.5, 4.5, 4.5, 4.5],
}

# --- network ----------------------------------------------------------------------------------
# One feature, of mean 0 and SD 1 over six people; y = 0 0 0 1 1 1 is 1 where it is 1. Parameters begin at 0, so that
# every prediction is 1/2. Of the first hospital (x, y) are (-1, 0) twice and (1, 1) twice: the gradient of the mean
# loss by the slope is the mean of (1/2 - y) x = -1/2, by the intercept 0. Of the second (-1, 0) and (1, 1): the same.
# So after a step of rate 1 the slope is 1/2. With clip 1/4 each moves 1/4; with 4 and 2 people 4/6 + 2/6 of that. The
# third hospital has nobody.
# Breslow's partial likelihood of times 1 2 2 3, events 1 1 1 0, scores 0: log 4 + 2 log 3, over 4 people.
# Time 3 (event), 5 (censored), 9 (event), 5 (event) in intervals to 2, 5, 8: the first lives through one and dies in
# the second; of who is censored at 5 two count; the third lives through all; the fourth dies in the second.
NETWORK = {
    "data": ([[-1, 0], [-1, 0], [1, 1], [1, 1]], [[-1, 0], [1, 1]], []),
    "slope": 1 / 2,
    "clipped": 1 / 4,
    "partial": (log(4) + 2 * log(3)) / 4,
    "lived": [
        [[1, 1, 0], [0, 1, 0]], [[1, 1, 0], [0, 0, 0]], [[1, 1, 1], [0, 0, 0]], [[1, 1, 0], [0, 1, 0]],
    ],
}  # fmt: skip

# --- penalised --------------------------------------------------------------------------------
# a and b are +-1 and orthogonal, of mean 0 and SD 1, and y = 3 + 2 a + b / 2 + (half of +-1, orthogonal to both).
# So b of least squares is 2 and 1/2. The lasso takes lambda off each: at 1 they are 1 and 0. With factors 1/2 and 3/2
# (they add up to 2): 2 - 1/2 and 0. Elastic net, alpha 1/2 at 1: (2 - 1/2) / (1 + 1/2 / SD of y), and 0;
# y has variance 4 + 1/4 + 1/4 = 9/2. Ridge at 1: 2 and 1/2, over 1 + 1/SD.
PENALISED = {
    "data": {
        "a": [1, 1, 1, 1, -1, -1, -1, -1],
        "b": [1, 1, -1, -1, 1, 1, -1, -1],
        "y": [6, 5, 5, 4, 2, 1, 1, 0],
    },
    "fits": [
        ({"penalty": (1.0,)}, [3, 1, 0]),
        ({"penalty": (0.25,)}, [3, 7 / 4, 1 / 4]),
        ({"penalty": (1.0,), "factors": {"a": 1.0, "b": 3.0}}, [3, 3 / 2, 0]),
        ({"penalty": (1.0,), "alpha": 0.5}, [3, 3 / 2 / (1 + 1 / 2 / sqrt(9 / 2)), 0]),
        ({"penalty": (1.0,), "alpha": 0.0}, [3, 2 / (1 + 1 / sqrt(9 / 2)), 1 / 2 / (1 + 1 / sqrt(9 / 2))]),
    ],
}

# --- evaluate ---------------------------------------------------------------------------------
# Risks 1/5 1/5 2/5 2/5 4/5 4/5, outcomes 0 0 1 0 1 1. Pairs (3 x 3): 2/5 beats two of 1/5 and ties with one: 2 1/2; 4/5
# beats three, twice: 6; area 17/18. Squares 1/25 1/25 9/25 4/25 1/25 1/25: 17/25, over 6 17/150; of the mean, 1/4:
# scaled 1 - 17/150 * 4 = 41/75. Observed 3, expected 14/5. At 1/2: two right, none wrong: 2/6.
# Followed: leave at 1 (event, 4/5), 2 (censored, 1/5), 2 (event, 1/5), 3 (event, 4/5), 4 and 5 (1/5, 4/5: followed).
# G: at 2, of 5 one has the event, one of 4 is censored: 3/4 from then on. By 3: cases weigh 1 and 1 (before 2), 4/3;
# controls 4/3 each (1/5, 4/5). Cases 4/5: 1 + 4/3, 1/5: 1. Area: (7/3 * (4/3 + 2/3) + 2/3) / (10/3 * 8/3) = 3/5.
# Brier: events 1/25 * 1 + 16/25 * 1 + 1/25 * 4/3, followed 4/3 * (1/25 + 16/25): (17/25 + 4/75 + 68/75)/6 = 41/150.
# Survival: 5/6 * 4/5 * 2/3 = 4/9. Harrell by 3: at 1, five later: three of 1/5 beaten, two ties (4/5): 4 of 5; at 2
# (1/5), later: censored at 2 (1/5) and 3, 4, 5: ties 2, beats none: 1 of 4; at 3 (4/5): beats 1/5, ties: 3/2 of 2:
# 13/22.
EVALUATE = {
    "binary": {"p": [0.2, 0.2, 0.4, 0.4, 0.8, 0.8], "y": [0, 0, 1, 0, 1, 1]},
    "metrics": {"AUC": 17 / 18, "Brier score": 17 / 150, "scaled Brier score": 41 / 75, "observed/expected": 15 / 14},
    "net_benefit": 1 / 3,
    "followed": {"t": [1, 2, 2, 3, 4, 5], "e": [1, 0, 1, 1, 1, 0], "p": [0.8, 0.2, 0.2, 0.8, 0.2, 0.8]},
    "followed_metrics": {
        "AUC": 3 / 5, "Brier score": 41 / 150, "observed risk": 5 / 9, "Harrell's concordance": 13 / 22,
        "mean predicted risk": 1 / 2,
    },
}  # fmt: skip

# --- responders -------------------------------------------------------------------------------
# One confounder of two levels, everybody twice, once in each fold: the models of both folds are the means of the cells.
# c = 0: treated 4 2, others 2 0 1 1: means 3 and 1, effect 2, propensity 1/3. c = 1: treated 3 5 4 4, others 4 2: means
# 4 and 3, effect 1, propensity 2/3. So effect = 2 - c, on average 3/2. dr, c = 0: scores less 2 are +-3 (weight 3) and
# +-3/2 (weight 3/2): squares 22.5, twice 45, of 12 people: 45/144 = 5/16; c = 1 the same. HC1 is 24/22 of that:
# intercept 5/16 * 12/11 = 15/44, slope twice. r: weights (a - e)^2 are 4/9 and 1/9, in all 8/3; squares of (a - e)
# times residual 2 * (4/9 + 4/9 + 1/9 + 1/9) = 20/9; (20/9)/(8/3)^2 = 5/16 too.
# Two classes of half of the people, effects 3 and 1: the first u do better than all by 1 up to u = 1/2, then by 1/u
# - 1. The area is 1/2 + log 2 - 1/2; times u it is 1/8 + 1/8.
RESPONDERS = {
    "data": {
        "c": [0] * 6 + [1] * 6,
        "a": [1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0],
        "y": [4, 2, 2, 0, 1, 1, 3, 5, 4, 4, 4, 2],
    },
    "estimate": [2, -1],
    "variance": [15 / 44, 15 / 22],
    "average": 3 / 2,
    "autoc": log(2),
    "qini": 1 / 4,
}  # fmt: skip

# --- interaction ------------------------------------------------------------------------------
# Four arms with ten people for either value of c: events of neither 1, the first alone 2, the second alone 3, both 8 of
# ten, twice, so that risks are 0.1, 0.2, 0.3, 0.8 and c explains nothing. Difference of differences 0.8 - 0.2 - 0.3 +
# 0.1 = 0.4; RERI 4; attributable proportion 1/2; synergy index 0.7/0.3; ratio of risk ratios 0.08/0.06; of odds ratios
# (4 * 1/9)/(1/4 * 3/7) = 112/27. Its logarithm has the variance 1/2 + 1/18 + 1/4 + 1/16 + 1/6 + 1/14 + 1/16 + 1/4.
INTERACTION = {
    "data": {
        "meno": [0] * 20 + [1] * 20 + [0] * 20 + [1] * 20,
        "chemo": [0] * 40 + [1] * 40,
        "c": ([0] * 10 + [1] * 10) * 4,
        "y": [1.0 if i < many else 0.0 for many in (1, 2, 3, 8) for _ in range(2) for i in range(10)],
    },
    "risks": [0.1, 0.2, 0.3, 0.8],
    "interaction": {
        "difference of differences": 0.4,
        "RERI": 4.0,
        "attributable proportion": 0.5,
        "synergy index": log(7 / 3),
        "ratio of risk ratios": log(4 / 3),
        "ratio of odds ratios": log(112 / 27),
    },
    "woolf": 1 / 2 + 1 / 18 + 1 / 4 + 1 / 16 + 1 / 6 + 1 / 14 + 1 / 16 + 1 / 4,
}

# --- pca --------------------------------------------------------------------------------------
# a = 1 2 3 4, b = 1 3 2 4: mean 5/2 each, squares 5 each, products 9/4 + (-1/2)(1/2) + (1/2)(-1/2) + 9/4 = 4: r = 4/5.
# A correlation matrix of two has variances 1 + r and 1 - r along the sum and the difference of the columns.
PCA_CASE = {
    "data": {"a": [1, 2, 3, 4], "b": [1, 3, 2, 4]},
    "variance": [1.8, 0.2],
    "loadings": [[sqrt(1 / 2), sqrt(1 / 2)], [sqrt(1 / 2), -sqrt(1 / 2)]],
}

# --- kmeans -----------------------------------------------------------------------------------
# 0 1 2 and 10 11 12: centres 1 and 11, mean 6. Squares within 2 + 2 = 4, between 6 * 25 = 150, so 150/154 is explained.
# Silhouettes: the people at 1 and 11 are 0 from their centre: 1. 0 is 1 and 11 away: 10/11; 2 is 1 and 9 away: 8/9.
KMEANS = {
    "data": {"a": [0, 1, 2, 10, 11, 12]},
    "n": [3, 3],
    "mean": [1, 11],
    "explained": 150 / 154,
    "silhouette": (1 + 10 / 11 + 8 / 9) / 3,
}

# --- mixture ----------------------------------------------------------------------------------
# 0 10 and 100 110 are 18 SDs and more from the other class: each has half of the people, means 5 and 105, variance 25.
# All are one SD from their mean: log density log(1/2) - log(5) - log(2 pi)/2 - 1/2. Five parameters, log n = log 4.
MIXTURE = {
    "data": {"a": [0, 10, 100, 110]},
    "mean": [5, 105],
    "std_dev": [5, 5],
    "log_likelihood": 4 * (log(1 / 2) - log(5) - log(2 * pi) / 2 - 1 / 2),
    "bic": 5 * log(4) - 8 * (log(1 / 2) - log(5) - log(2 * pi) / 2 - 1 / 2),
}

# --- worklist ---------------------------------------------------------------------------------
# Criterion 1: age >= 65. Criterion 2: grade == '3' or nodes > 4. Each person's answers, and where they lead:
# a: yes; yes (grade)                     eligible       e: no (60)                      ruled out at 1
# b: yes; yes (nodes 5)                   eligible       f: unknown; no or no            ruled out at 2
# c: yes; no or unknown is unknown        to be checked  g: yes; unknown or yes is yes   eligible
# d: unknown; yes                         to be checked  h: no (50)                      ruled out at 1
# So 8 are screened, 6 left after the first, 5 after the second, of whom 3 are known to meet both.
WORKLIST = {
    "data": {
        "pid": list("abcdefgh"),
        "age": [70, 71, 72, None, 60, None, 75, 50],
        "grade": ["3", "2", "2", "3", "3", "2", None, None],
        "nodes": [0, 5, None, 1, 9, 1, 9, None],
    },
    "criteria": ("age >= 65", "grade == '3' or nodes > 4"),
    "n": [8, 6, 5, 3],
    "listed": {"a": ("met", "met"), "b": ("met", "met"), "c": ("met", "unknown"), "d": ("unknown", "met"),
               "g": ("met", "met")},
}  # fmt: skip

# --- cohort -----------------------------------------------------------------------------------
# Of 60 people, 20 have no entry event, 15 fail rule 1, 3 fail rule 2, 22 are in the cohort (the exits rule out nobody).
# Left: 60, then 60 - 20 = 40, then 40 - 15 = 25, then 25 - 3 = 22, then 22. With k = 11 the 3 may not be told from
# their neighbours, so 25 is not told: those who fail rule 1 or 2 are 18.
COHORT = {
    "reached": {0: 20, 1: 15, 2: 3, 4: 22},
    "n": [60, 40, 25, 22, 22],
    "told": [60, 40, None, 22, 22],
}

# --- recruitment ------------------------------------------------------------------------------
# Two rules. Each person's day of entry, rules (1 met, 0 failed, None unknown), whether they are in the cohort, and
# where that leads on day 100 with `within` 30 and one rule unknown at most:
# a: 90; 1 1 in      meets all        d: 80; None 1     to be checked      g: 60; 1 1 in     too long ago
# b: 95; 1 1 in      meets all        e: 99; None None  too much unknown   h: no entry event
# c: 99; 1 None      to be checked    f: 90; 1 0        ruled out at 2     i: 90; 1 1 not in, by its exits
# Left: 9 people, 8 with an entry event, 7 recent, 7 after rule 1, 6 after rule 2, 5 in the cohort or unknown, 4 with
# at most one unknown (a, b, c, d), 2 who meet all. The list: fewest unknown first, then the newest: b, a, c, d.
RECRUITMENT = {
    "entry": [90, 95, 99, 80, 99, 90, 60, None, 90],
    "rules": [[1, 1, 1, None, None, 1, 1, None, 1], [1, 1, None, 1, None, 0, 1, None, 1]],
    "reached": [4, 4, 2, 1, 1, 2, 4, 0, 3],
    "n": [9, 8, 7, 7, 6, 5, 4, 2],
    "listed": {"b": ("met", "met"), "a": ("met", "met"), "c": ("met", "unknown"), "d": ("unknown", "met")},
}

# --- enrolment --------------------------------------------------------------------------------
# 40 people: 5 on no list, 3 to see, 2 seen, 12 not eligible, 1 eligible, 4 contacted, 6 declined, 0 consented, 7
# enrolled. Seen 32, read 30, eligible 18, contacted 17, answered 13, consented 7, enrolled 7.
ENROLMENT = {
    "people": {None: 5, 0: 3, 1: 2, 2: 12, 3: 1, 4: 4, 5: 6, 6: 0, 7: 7},
    "n": [40, 32, 30, 18, 17, 13, 7, 7],
}

# --- Kaplan-Meier -----------------------------------------------------------------------------
# Events at 1, 3, 5; censored at 2, 5, 6 (the one at 5 is still at risk at 5).
# At risk 6, 4, 3: S = 5/6, then x 3/4 = 5/8, then x 2/3 = 5/12.
# Greenwood's sum: 1/(6*5) = 1/30; + 1/(4*3) = 7/60; + 1/(3*2) = 17/60. se = S sqrt(sum).
# The curve first is at or under 1/2 at 5: median 5. RMST to 6: 1 + 2 * 5/6 + 2 * 5/8 + 5/12 = 13/3.
# Its variance: after each event the area that is left, squared, times d/(n(n-d)):
# after 1: 10/3 -> (100/9)/30; after 3: 5/3 -> (25/9)/12; after 5: 5/12 -> (25/144)/6.
# Log-log limits: S^exp(+-z sqrt(sum)/log S); log limits: S exp(+-z sqrt(sum)).
KAPLAN_MEIER = {
    "data": {"time": [1, 2, 3, 5, 5, 6], "status": [1, 0, 1, 1, 0, 0]},
    "time": [1, 3, 5],
    "at_risk": [6, 4, 3],
    "events": [1, 1, 1],
    "estimate": [5 / 6, 5 / 8, 5 / 12],
    "std_error": [5 / 6 * sqrt(1 / 30), 5 / 8 * sqrt(7 / 60), 5 / 12 * sqrt(17 / 60)],
    "median": 5.0,
    "rmst": {"tau": 6.0, "estimate": 13 / 3, "std_error": sqrt(100 / 270 + 25 / 108 + 25 / 864)},
}

# The same people, entering at 0 0 2 0 4 1: those who enter at or after an event time are not at risk
# at it. At 1: all with entry < 1: persons 1, 2, 4 -> n = 3; at 3: persons 3, 4, 6 -> n = 3; at 5: 4, 5, 6.
KAPLAN_MEIER_LATE = {
    "data": {"entry": [0, 0, 2, 0, 4, 1], "time": [1, 2, 3, 5, 5, 6], "status": [1, 0, 1, 1, 0, 0]},
    "time": [1, 3, 5],
    "at_risk": [3, 3, 3],
    "events": [1, 1, 1],
    "estimate": [2 / 3, 4 / 9, 8 / 27],
    "std_error": [2 / 3 * sqrt(1 / 6), 4 / 9 * sqrt(2 / 6), 8 / 27 * sqrt(3 / 6)],
}

# The same people with weights 2 1 1 2 1 1: at risk 8, 5, 4 and events 2, 1, 2.
# S = 6/8, then x 4/5 = 3/5, then x 2/4 = 3/10. (Greenwood with weighted counts: 2/(8*6), 1/(5*4), 2/(4*2).)
KAPLAN_MEIER_WEIGHTS = {
    "data": {"time": [1, 2, 3, 5, 5, 6], "status": [1, 0, 1, 1, 0, 0], "weight": [2, 1, 1, 2, 1, 1]},
    "time": [1, 3, 5],
    "at_risk": [8, 5, 4],
    "events": [2, 1, 2],
    "estimate": [3 / 4, 3 / 5, 3 / 10],
    "greenwood_sum": [1 / 24, 1 / 24 + 1 / 20, 1 / 24 + 1 / 20 + 1 / 4],
}

# 6-mercaptopurine in acute leukaemia (Freireich et al., Blood 1963;21:699; times in weeks as in Gehan,
# Biometrika 1965;52:203). Kaplan-Meier of the treated: a factor at each event time.
_TREATED_WEEKS = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
_PLACEBO_WEEKS = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
LEUKAEMIA = {
    "data": {
        "arm": ["6-MP"] * 21 + ["placebo"] * 21,
        "time": [*_TREATED_WEEKS, *_PLACEBO_WEEKS],
        "status": [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0] + [1] * 21,
    },
    "treated": {
        "time": [6, 7, 10, 13, 16, 22, 23],
        "at_risk": [21, 17, 15, 12, 11, 7, 6],
        "events": [3, 1, 1, 1, 1, 1, 1],
        "factors": [18 / 21, 16 / 17, 14 / 15, 11 / 12, 10 / 11, 6 / 7, 5 / 6],
        "median": 23.0,
    },
    "placebo": {"median": 8.0},
    "logrank": {"observed": {"6-MP": 9, "placebo": 21}, "expected_2_decimals": {"6-MP": 19.25, "placebo": 10.75},
                "chisq_2_decimals": 16.79, "df": 1},
}  # fmt: skip

# --- log-rank ---------------------------------------------------------------------------------
# Group a: 1, 3, 4+ (censored); b: 2, 5, 6+. Event times 1 2 3 5, at risk a/n: 3/6, 2/5, 2/4, 0/2.
# Expected in a: 1/2 + 2/5 + 1/2 + 0 = 7/5, observed 2. Variance of one death: share * (1 - share):
# 1/4 + 6/25 + 1/4 + 0 = 37/50. Chi-squared (3/5)^2 / (37/50) = 18/37.
# Gehan-Breslow, weights n = 6 5 4 2: a observed 6 + 4 = 10, expected 3 + 2 + 2 = 7; variance
# 36/4 + 25 * 6/25 + 16/4 = 19; chi-squared 9/19. Tarone-Ware, weights sqrt(n): observed sqrt 6 + 2,
# expected sqrt(6)/2 + 2 sqrt(5)/5 + 1, variance 6/4 + 6/5 + 1 = 37/10.
# Peto (Fleming-Harrington rho = 1), weights S before the death: 1, 5/6, 4/6, (4/6)(3/4) = 1/2:
# observed 1 + 2/3 = 5/3, expected 1/2 + 1/3 + 1/3 = 7/6, variance 1/4 + 1/6 + 1/9 = 19/36; (1/2)^2/(19/36) = 9/19.
LOGRANK = {
    "data": {"group": ["a", "a", "a", "b", "b", "b"], "time": [1, 3, 4, 2, 5, 6], "status": [1, 1, 0, 1, 1, 0]},
    "logrank": {"observed": [2, 2], "expected": [7 / 5, 13 / 5], "variance": 37 / 50, "chisq": 18 / 37},
    "gehan_breslow": {"observed": [10, 7], "expected": [7, 10], "variance": 19, "chisq": 9 / 19},
    "tarone_ware": {"variance": 37 / 10, "chisq": (sqrt(6) / 2 + 1 - 2 * sqrt(5) / 5) ** 2 / 3.7},
    "peto": {"observed": [5 / 3, 4 / 3], "expected": [7 / 6, 11 / 6], "variance": 19 / 36, "chisq": 9 / 19},
}

# --- Cox --------------------------------------------------------------------------------------
# After Therneau's validation example (Therneau and Grambsch 2000, appendix E; survival's tests/book1.R).
# Write r = exp(beta). At 1 the risk set has three with x = 1 and three with x = 0 (r on top, 3r + 3 below);
# at 6 one of each dies, one r and three others at risk (r + 3); at 9 the last one: nothing.
# Breslow: log L = 2 beta - log(3r + 3) - 2 log(r + 3). Score 2 - r/(r+1) - 2r/(r+3) = 0: r^2 - 3r - 6 = 0.
# Efron: the second of the two deaths at 6 has (r + 3) - (r + 1)/2 = (r + 5)/2 below.
# log L = 2 beta - log(3r + 3) - log(r + 3) - log((r + 5)/2). Score 0: r^3 - 23r - 30 = 0.
_R_BRESLOW = (3 + sqrt(33)) / 2
_R_EFRON = 2 * sqrt(23 / 3) * cos(acos(45 / 23 * sqrt(3 / 23)) / 3)


def _breslow_information(r: float) -> float:
    return r / (r + 1) ** 2 + 6 * r / (r + 3) ** 2


def _efron_information(r: float) -> float:
    return r / (r + 1) ** 2 + 3 * r / (r + 3) ** 2 + 5 * r / (r + 5) ** 2


# Score residuals at r (for the robust variance, their squares over the information squared), Breslow: a person
# adds x - xbar at the own death, less the hazard jump times own r^x (x - xbar) at each death time lived through.
# Jumps 1/(3r+3) at 1, 2/(r+3) at 6, 1 at 9; xbar r/(r+1), r/(r+3), 0.
def _breslow_score_residuals(r: float) -> list[float]:
    first, second = r / (r + 1), r / (r + 3)
    one = r * (1 - first) / (3 * r + 3)  # lived to 1 with x = 1
    zero = -first / (3 * r + 3)  # lived to 1 with x = 0
    last_one = 2 * r * (1 - second) / (r + 3)
    last_zero = -2 * second / (r + 3)
    return [
        -(zero + last_zero),  # 9, x = 0: dies alone, x - xbar = 0 at 9
        (1 - first) - one,  # 1, x = 1, dies
        -one,  # 1, x = 1, censored
        (1 - second) - one - last_one,  # 6, x = 1, dies
        -second - zero - last_zero,  # 6, x = 0, dies
        -(zero + last_zero),  # 8, x = 0, censored
    ]


_BRESLOW_ROBUST = sqrt(sum(u * u for u in _breslow_score_residuals(_R_BRESLOW))) / _breslow_information(_R_BRESLOW)

COX = {
    "data": {"time": [9, 1, 1, 6, 6, 8], "status": [1, 1, 0, 1, 1, 0], "x": [0, 1, 1, 1, 0, 0]},
    "breslow": {
        "coef": log(_R_BRESLOW),
        "std_error": 1 / sqrt(_breslow_information(_R_BRESLOW)),
        "robust_std_error": _BRESLOW_ROBUST,
        "loglik_null": -log(6) - 2 * log(4),
        "loglik": 2 * log(_R_BRESLOW) - log(3 * _R_BRESLOW + 3) - 2 * log(_R_BRESLOW + 3),
        "score_test": (2 - 1 / 2 - 2 / 4) ** 2 / _breslow_information(1.0),
        "wald_test": log(_R_BRESLOW) ** 2 * _breslow_information(_R_BRESLOW),
        "baseline_time": [1, 6, 9],
        "cumulative_hazard": [
            1 / (3 * _R_BRESLOW + 3),
            1 / (3 * _R_BRESLOW + 3) + 2 / (_R_BRESLOW + 3),
            1 / (3 * _R_BRESLOW + 3) + 2 / (_R_BRESLOW + 3) + 1,
        ],
    },
    "efron": {
        "coef": log(_R_EFRON),
        "std_error": 1 / sqrt(_efron_information(_R_EFRON)),
        "loglik_null": -log(6) - log(4) - log(3),
        "loglik": 2 * log(_R_EFRON) - log(3 * _R_EFRON + 3) - log(_R_EFRON + 3) - log((_R_EFRON + 5) / 2),
        "score_test": (2 - 1 / 2 - 1 / 4 - 1 / 6) ** 2 / _efron_information(1.0),
        "wald_test": log(_R_EFRON) ** 2 * _efron_information(_R_EFRON),
        "baseline_time": [1, 6, 9],
        "cumulative_hazard": [
            1 / (3 * _R_EFRON + 3),
            1 / (3 * _R_EFRON + 3) + 1 / (_R_EFRON + 3) + 2 / (_R_EFRON + 5),
            1 / (3 * _R_EFRON + 3) + 1 / (_R_EFRON + 3) + 2 / (_R_EFRON + 5) + 1,
        ],
    },
    # Pairs with a known order (x = 1 should die first). Death at 1 (x=1) against the five others: tied in x with
    # two, right with three (the one censored at 1 is taken to live longer). Death at 6 (x=1) against 8 and 9:
    # right twice; death at 6 (x=0) against 8 and 9: tied in x. The two deaths at 6: tied in time, left out.
    # (5 + 4/2) / 9.
    "concordance": {"concordant": 5, "discordant": 0, "tied_x": 4, "tied_y": 1, "estimate": 7 / 9},
}

# Two strata, each with one death and one x = 1 of two at risk: stratum A the x = 1 dies, B the x = 0 dies,
# C (three at risk, one x = 1) the x = 1 dies. log L = 2 beta - 2 log(r + 1) - log(r + 2).
# Score 2 - 2r/(r+1) - r/(r+2) = 0: 2(r + 2) = r(r + 1), r^2 - r - 4 = 0, r = (1 + sqrt 17)/2.
_R_STRATA = (1 + sqrt(17)) / 2
COX_STRATA = {
    "data": {
        "stratum": ["A", "A", "B", "B", "C", "C", "C"],
        "time": [1, 2, 1, 2, 1, 2, 3],
        "status": [1, 0, 1, 0, 1, 0, 0],
        "x": [1, 0, 0, 1, 1, 0, 0],
    },
    "coef": log(_R_STRATA),
    "std_error": 1 / sqrt(2 * _R_STRATA / (_R_STRATA + 1) ** 2 + 2 * _R_STRATA / (_R_STRATA + 2) ** 2),
    "loglik_null": -2 * log(2) - log(3),
    "loglik": 2 * log(_R_STRATA) - 2 * log(_R_STRATA + 1) - log(_R_STRATA + 2),
}

# Ridge on the strata above: theta chosen so that beta = log 2 solves score = theta beta.
# Score at r = 2: 2 - 4/3 - 1/2 = 1/6, so theta = 1 / (6 log 2). Information 4/9 + 4/16 = 25/36.
COX_RIDGE = {
    "data": COX_STRATA["data"],
    "theta": 1 / (6 * log(2)),
    "coef": log(2),
    "information": 25 / 36,
    "std_error_inverse": 1 / sqrt(25 / 36 + 1 / (6 * log(2))),
    "std_error_sandwich": sqrt(25 / 36) / (25 / 36 + 1 / (6 * log(2))),
}

# --- linear -----------------------------------------------------------------------------------
# (0,1) (1,3) (2,4): means 1 and 8/3, slope (-1 * 1 + 1 * 4)/2 = 3/2, intercept 8/3 - 3/2 = 7/6.
# Residuals -1/6 1/3 -1/6, squares sum to 1/6, on one degree of freedom.
# Variances: slope (1/6)/2, intercept (1/6)(1/3 + 1/2). HC0: slope sum((x-1)^2 e^2)/4 = 1/72; the intercept's
# weights are 1/3 - (x - 1)/2 = 5/6 1/3 -1/6: (25/36)(1/36) + (1/9)(1/9) + (1/36)(1/36) = 42/1296.
LINEAR = {
    "data": {"x": [0, 1, 2], "y": [1, 3, 4]},
    "coef": [7 / 6, 3 / 2],
    "std_error": [sqrt(5 / 36), sqrt(1 / 12)],
    "robust_std_error": [sqrt(42 / 1296), sqrt(1 / 72)],
    "deviance": 1 / 6,
    "null_deviance": 14 / 3,
    "dispersion": 1 / 6,
    "r_squared": 27 / 28,
    "loglik": -1.5 * (log(2 * pi) + log(1 / 18) + 1),
    "aic": 3 * (log(2 * pi) + log(1 / 18) + 1) + 2 * 3,
}

# --- logistic ---------------------------------------------------------------------------------
# Exposed 20 of 30 ill, others 15 of 45: odds ratio (20/10)/(15/30) = 4, variance of its logarithm
# 1/20 + 1/10 + 1/15 + 1/30 = 1/4; log odds of the others log(1/2), variance 1/15 + 1/30 = 1/10.
# With one term for each group HC0 equals the model's variance.
_LOGISTIC_LOGLIK = 20 * log(2 / 3) + 10 * log(1 / 3) + 15 * log(1 / 3) + 30 * log(2 / 3)
LOGISTIC = {
    "data": {"exposed": [1] * 30 + [0] * 45, "ill": [1] * 20 + [0] * 10 + [1] * 15 + [0] * 30},
    "coef": [-log(2), log(4)],
    "std_error": [sqrt(0.1), 0.5],
    "robust_std_error": [sqrt(0.1), 0.5],
    "loglik": _LOGISTIC_LOGLIK,
    "deviance": -2 * _LOGISTIC_LOGLIK,
    "null_deviance": -2 * (35 * log(35 / 75) + 40 * log(40 / 75)),
    "aic": -2 * _LOGISTIC_LOGLIK + 4,
}

# --- Poisson ----------------------------------------------------------------------------------
# One row per person with own time at risk. Exposed: 3 events in 10 years (1 in 4, 2 in 6); others: 6 events in
# 40 years (0 in 10, 4 in 20, 2 in 10). Rates 3/10 and 3/20: ratio 2, variance 1/3 + 1/6 = 1/2; log 3/20 has 1/6.
# HC0: sum of squared y - mu over the group's events squared: others mu 3/2 3 3/2: (9/4 + 1 + 1/4)/36 = 7/72;
# exposed mu 6/5 9/5: (1/25 + 1/25)/9 = 2/225.
# Deviance 2 sum(y log(y/mu)) (the sums of y and mu agree in each group).
POISSON = {
    "data": {"exposed": [1, 1, 0, 0, 0], "events": [1, 2, 0, 4, 2], "years": [4, 6, 10, 20, 10]},
    "offset": "log(years)",
    "coef": [log(3 / 20), log(2)],
    "std_error": [sqrt(1 / 6), sqrt(1 / 2)],
    "robust_std_error": [sqrt(7 / 72), sqrt(7 / 72 + 2 / 225)],
    "deviance": 2 * (log(5 / 6) + 2 * log(10 / 9) + 4 * log(4 / 3) + 2 * log(4 / 3)),
}

# --- gamma ------------------------------------------------------------------------------------
# Group 0: 1 3 (mean 2), group 1: 3 9 (mean 6). Pearson: each residual is half its mean: 4/4 = 1 on two degrees of
# freedom, dispersion 1/2. Log link: log 2, log 3; variances (1/2)/2 for each mean, so 1/4 and 1/2. HC0: in each
# group sum(((y - mu)/mu)^2)/2^2 = 1/8. Inverse link: 1/2 and 1/6 - 1/2; variance of 1/mean is (1/2)/(2 mean^2).
GAMMA = {
    "data": {"x": [0, 0, 1, 1], "y": [1, 3, 3, 9]},
    "dispersion": 1 / 2,
    "deviance": -4 * log(3 / 4),
    "log": {"coef": [log(2), log(3)], "std_error": [1 / 2, sqrt(1 / 2)], "robust_std_error": [sqrt(1 / 8), 1 / 2]},
    "inverse": {"coef": [1 / 2, -1 / 3], "std_error": [sqrt(1 / 16), sqrt(1 / 16 + 1 / 144)]},
}

# --- competing risks --------------------------------------------------------------------------
# Five people: 1 relapse, 2 death, 3 censored, 4 relapse, 5 death. Alive and free of both: 4/5, 3/5, 3/5, 3/10, 0.
# Relapse: 1 * 1/5, then + (3/5)(1/2) = 1/2. Death: (4/5)(1/4) = 1/5, then + (3/10)(1) = 1/2.
AALEN_JOHANSEN = {
    "data": {"time": [1, 2, 3, 4, 5], "event": ["relapse", "death", "censored", "relapse", "death"]},
    "time": [1, 2, 4, 5],
    "free": [4 / 5, 3 / 5, 3 / 10, 0.0],
    "relapse": [1 / 5, 1 / 5, 1 / 2, 1 / 2],
    "death": [0.0, 1 / 5, 1 / 5, 1 / 2],
}

# Fine-Gray for relapse; x below. The censoring curve falls to 2/3 at 3 (one of three). At 1: three with x = 1,
# two with x = 0: r/(3r + 2). At 4: at risk are the one who relapses (x = 0), the one who dies at 5 (x = 1), and
# the one who died at 2 (x = 0) with weight G(4)/G(2) = 2/3: 1/(r + 5/3). log L = beta - log(3r + 2) - log(r + 5/3).
# Score 1 - 3r/(3r + 2) - r/(r + 5/3) = 0: 2r + 10/3 = 3r^2 + 2r, r = sqrt(10)/3.
_R_GRAY = sqrt(10) / 3
FINE_GRAY = {
    "data": {
        "time": [1, 2, 3, 4, 5],
        "event": ["relapse", "death", "censored", "relapse", "death"],
        "x": [1, 0, 1, 0, 1],
    },
    "cause": "relapse",
    "coef": log(_R_GRAY),
    "std_error": 1 / sqrt(6 * _R_GRAY / (3 * _R_GRAY + 2) ** 2 + 5 / 3 * _R_GRAY / (_R_GRAY + 5 / 3) ** 2),
    "loglik_null": -log(5) - log(8 / 3),
    "loglik": log(_R_GRAY) - log(3 * _R_GRAY + 2) - log(_R_GRAY + 5 / 3),
}  # std_error is the model's; R's coxph prints a robust one as soon as weights are no integers

# The cause-specific model of the same people: at 4 only the two alive count: beta - log(3r + 2) - log(r + 1).
# Score 1 - 3r/(3r + 2) - r/(r + 1) = 0: 2(r + 1) = r(3r + 2), r = sqrt(2/3).
CAUSE_SPECIFIC = {
    "data": FINE_GRAY["data"],
    "cause": "relapse",
    "coef": log(2 / 3) / 2,
    "std_error": 1 / sqrt(
        6 * exp(log(2 / 3) / 2) / (3 * exp(log(2 / 3) / 2) + 2) ** 2
        + exp(log(2 / 3) / 2) / (exp(log(2 / 3) / 2) + 1) ** 2
    ),
}  # fmt: skip

# --- feasibility ------------------------------------------------------------------------------
# Two criteria, of which the second (a measurement) may be unknown: answers (one, lab) of 100 people with an entry event
# and 30 without. After one: 40 + 20 + 12. Alone lab: 40 + 15. Without one: the same 55, a gain of 15; without lab 72, a
# gain of 32. Shapley: whoever fails one criterion is its loss, whoever fails both is half a loss of each: 15 + 13/2 and
# 32 + 13/2, together the 60 who are lost. With k = 11, (no, no) 4 and (no, unknown) 9 are hidden: 13 people, of whom
# 0 to 13 are unknown (one of the two may be hidden with the other); their halves are the same, so that costs are exact.
FEASIBILITY = {
    "people": [
        ((1, 1), 40), ((1, 0), 20), ((0, 1), 15), ((0, 0), 4), ((1, None), 12), ((0, None), 9), ((None, None), 30),
    ],
    "n": {
        "funnel": [130, 100, 72, 40],
        "criteria": {
            ("one", "alone"): 72, ("one", "without"): 55, ("one", "gain"): 15, ("one", "shapley"): 21.5,
            ("lab", "alone"): 55, ("lab", "unknown"): 21, ("lab", "without"): 72, ("lab", "gain"): 32,
            ("lab", "shapley"): 38.5,
        },
    },
    "told": {
        "funnel": [130, 100, 72, 40],
        "criteria": {
            ("one", "alone"): 72, ("one", "without"): 55, ("one", "gain"): 15, ("one", "shapley"): 21.5,
            ("lab", "alone"): 55, ("lab", "unknown"): (12, 25), ("lab", "without"): 72, ("lab", "gain"): 32,
            ("lab", "shapley"): 38.5,
        },
    },
}  # fmt: skip


# --- overlap ----------------------------------------------------------------------------------
# People by the cohorts that they are in. With k = 11, b and c together (4) is few. The three sizes and everybody are
# told. Then combinations from the largest on: none, c, a and b. Not b alone: everybody less none, c, b and all of a is
# 181 - 40 - 30 - 25 - 82 = 4. All three may be told: what then is left, a, b, ac and bc, has sums of 32 (a), 29 (b), 24
# (c), from which bc does not follow. Nor ac: 24 - 20 = 4.
OVERLAP = {
    "people": {"": 40, "a": 12, "b": 25, "c": 30, "ab": 30, "ac": 20, "bc": 4, "abc": 20},
    "n": {"": 40, "a": 12, "b": 25, "c": 30, "ab": 30, "ac": 20, "bc": 4, "abc": 20},
    "told": {"": 40, "ab": 30, "c": 30, "abc": 20},
    "totals": [82, 79, 74],
}

# --- similar_cases ----------------------------------------------------------------------------
# The question is (0, 0). In a hospital of people at (i, 0), i from 1 to 14, the 11 nearest are 1 to 11: of the label
# a where i is 3 or less or 11, else b: 4 and 7. In one of people at (0, 2 i), 1 to 12, who are a if i is even: i to
# 11, a 5 and b 6. The third has 10 people, fewer than 11: nobody. Together 22: a 9, b 13. In units of (1, 4), each by
# itself, nothing changes, for in each all are stretched alike. Wilson, 9 of 22 with z = 2:
# (11 +- 2 sqrt(9 * 13 / 22 + 1)) / 26.
SIMILAR = {
    "hospitals": [
        [(i, 0, "a" if i <= 3 or i == 11 else "b") for i in range(1, 15)],
        [(0, 2 * i, "a" if i % 2 == 0 else "b") for i in range(1, 13)],
        [(0, 0, "a")] * 10,
    ],
    "votes": {"a": 9, "b": 13},
    "wilson": ((11 - 2 * sqrt(9 * 13 / 22 + 1)) / 26, (11 + 2 * sqrt(9 * 13 / 22 + 1)) / 26),
}

# --- pathways ---------------------------------------------------------------------------------
# Stays (treatment, first day, last day). Gap 30, overlap 30. Of the people in turn: nothing; a twice, 20 days apart: a
# line; a, then b 10 days before a ends: a switch; a and b together from day 60 to 100 (41 days), then b alone; b within
# a; a, b, a: the second a is no new line; b before the target begins (day 0) does not count.
PATHWAYS = {
    "people": [
        {"stays": [], "lines": []},
        {"stays": [("a", 0, 50), ("a", 71, 90)], "lines": ["a"]},
        {"stays": [("a", 0, 100), ("b", 91, 200)], "lines": ["a", "b"]},
        {"stays": [("a", 0, 100), ("b", 60, 200)], "lines": ["a", "a + b", "b"]},
        {"stays": [("a", 0, 100), ("b", 40, 50)], "lines": ["a", "a + b"]},
        {"stays": [("a", 0, 50), ("b", 60, 120), ("a", 200, 300)], "lines": ["a", "b"]},
        {"stays": [("b", -10, 50), ("c", 60, 120)], "lines": ["c"]},
    ]
}

# --- occurrence -------------------------------------------------------------------------------
# Two years, 2010 and 2011 (14610 is 1 January 2010, 14975 that of 2011, 15340 the day after). One person is there
# throughout, ill on the 10th day of 2011: 365 + 10 days. One leaves after 100 days. One, born 18262 days (floor of 50 x
# 365.25) before day 14700, turns 50 there: 90 days under 50, 640 from then on. One had it before: no time at risk.
OCCURRENCE = {
    "people": {
        "_birth": [0.0, 0.0, 14700.0 - 18262, 0.0], "_sex": ["female", "male", "male", "female"],
        "_observed_from": [14000.0, 14610.0, 14000.0, 14000.0], "_observed_to": [16000.0, 14709.0, 16000.0, 16000.0],
    },
    "outcome": [(0, 14984.0, 15000.0), (3, 14600.0, 14700.0)],
    "told": {
        ("all", ""): (1, 375 + 100 + 730), ("year", "2010"): (0, 365 + 100 + 365), ("year", "2011"): (1, 10 + 365),
        ("age", "0-49"): (1, 375 + 100 + 90), ("age", "50+"): (0, 640), ("sex", "female"): (1, 375),
        ("sex", "male"): (0, 830),
    },
}  # fmt: skip

# --- person_time ------------------------------------------------------------------------------
# Followed from day 0 to day 99. One is never exposed, ill on day 49: 50 days before. One exposed from day 20 to 29, the
# window lasting to 39: 20 before, 20 exposed, 60 after. One exposed from 10 to 19 and from 25 on, ill on day 30: the
# windows 10 to 29 and 25 to 30 are one: 10 before, 21 exposed. Ratio: (1 / 41) / (1 / 140).
PERSON_TIME = {
    "people": {"_birth": [-9000.0] * 3, "_observed_from": [0.0] * 3, "_observed_to": [99.0] * 3},
    "outcome": [(0, 49.0, 49.0), (2, 30.0, 40.0)],
    "exposure": [(1, 20.0, 29.0), (2, 10.0, 19.0), (2, 25.0, 60.0)],
    "told": {"before": (1, 80), "exposed": (1, 41), "after": (0, 60)},
    "ratio": (1 / 41) / (1 / 140),
}
