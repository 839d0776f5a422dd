# Reference counts of feasibility, by brute force over the pooled rows, from a demo table of the package.
#
#   Rscript tests/oracles/make_feasibility.R      from the top of the repository
#
# Shapley values are means over all orders of the criteria; accrual is qnbinom. What it holds: tests/oracles/README.md.

suppressPackageStartupMessages(library(jsonlite))
d <- read.csv("src/confrere/demos/breast.csv", na.strings = "")
d <- d[d$pid %% 10 != 0, ]                                     # everybody else has no entry event
d$day <- floor(365.25 * (d$year - 1970)) + (d$pid * 7919) %% 365
d$pgr[(d$pid * 12997) %% 107 < 20] <- NA
rules <- data.frame(d$age >= 50, d$nodes <= 3, d$pgr >= 10, d$grade == 3)
met <- !is.na(rules) & as.matrix(rules)
everybody <- nrow(read.csv("src/confrere/demos/breast.csv"))
all_met <- function(set) if (length(set)) rowSums(met[, set, drop = FALSE]) == length(set) else rep(TRUE, nrow(d))
orders <- function(v) if (length(v) < 2) list(v) else
  do.call(c, lapply(seq_along(v), function(i) lapply(orders(v[-i]), function(rest) c(v[i], rest))))
J <- ncol(met)
lost <- sapply(orders(seq_len(J)), function(order) {
  left <- sapply(0:J, function(j) sum(all_met(order[seq_len(j)])))
  loss <- numeric(J)
  loss[order] <- -diff(left)
  loss
})
eligible <- d[all_met(seq_len(J)), ]
date <- as.Date(eligible$day, origin = "1970-01-01")
year <- as.integer(format(date, "%Y"))
age <- floor((eligible$day - (floor(365.25 * (eligible$year - eligible$age - 1970)))) / 365.25)
recent <- sum(year %in% c(1991, 1992))                          # 24 months
h <- 1:12
tables <- list(
  software = R.version.string,
  data = "breast.csv; see the script",
  people = everybody,
  funnel = sapply(0:J, function(j) sum(all_met(seq_len(j)))),
  alone = colSums(met),
  unknown = sum(is.na(rules[, 3])),
  without = sapply(seq_len(J), function(j) sum(all_met(seq_len(J)[-j]))),
  gain = sapply(seq_len(J), function(j) sum(all_met(seq_len(J)[-j])) - sum(all_met(seq_len(J)))),
  shapley = rowMeans(lost),
  variant = sum(all_met(c(1, 3, 4)) & d$nodes <= 9),
  years = as.list(table(factor(year, 1979:1992))),
  ages = as.vector(table(cut(age, c(0, 18, 30, 40, 50, 60, 70, 80, Inf), right = FALSE))),
  months = as.vector(table(factor(format(date, "%Y-%m"), format(seq(as.Date("1979-01-01"), as.Date("1992-12-01"), "month"), "%Y-%m")))),
  recent = recent,
  expected = (recent + 0.5) * h / 24,
  low = qnbinom(0.025, recent + 0.5, 24 / (24 + h)),
  high = qnbinom(0.975, recent + 0.5, 24 / (24 + h))
)
write_json(tables, "tests/oracles/feasibility.json", auto_unbox = TRUE, digits = NA, pretty = TRUE)
