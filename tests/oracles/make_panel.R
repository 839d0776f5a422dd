# Reference results for differences in differences, computed by R from real records of its own.
#
#   Rscript tests/oracles/make_panel.R      from the top of the repository; some seconds
#
# Debian packages: r-base-core r-cran-survival r-cran-jsonlite. The people are those of survival's pbcseq: the logarithm of
# bilirubin at the visits nearest to 0, 1, 2 and 3 years, and from when on oedema was seen, which stands for a treatment.
# Effects are those of DRDID::drdid_panel (and std_ipw_did_panel, reg_did_panel) by group and period as did::att_gt has
# them, written out with glm() and lm(); averages are did::aggte's. A person's influence is the derivative of all of it by
# that person's case weight, models fitted again, by Richardson's differences: no formula of a variance is used.

suppressPackageStartupMessages({ library(survival); library(jsonlite) })
options(warn = 1, stringsAsFactors = FALSE)
years <- 0:3
tight <- list(epsilon = 1e-15, maxit = 100)

rows <- lapply(split(pbcseq, pbcseq$id), function(d) {
  at <- sapply(years, function(y) { i <- which.min(abs(d$day / 365.25 - y)); if (abs(d$day[i] / 365.25 - y) < 0.45) i else NA })
  seen <- d$day[d$edema > 0] / 365.25
  c(age = d$age[1], male = as.numeric(d$sex[1] == "m"), setNames(log(d$bili[at]), paste0("y", years)),
    began = if (length(seen)) min(seen) else NA)
})
pbc <- as.data.frame(do.call(rbind, rows))
pbc <- pbc[complete.cases(pbc[, 1:6]), ]
pbc$age <- round(pbc$age, 3)
pbc$began <- round(pbc$began, 3)
group <- ifelse(is.na(pbc$began) | pbc$began > 3, 4, ceiling(pbc$began))
panel <- pbc[group > 0, ]
panel$group <- group[group > 0]

# Effects by group and period with case weights v, then averages.
effects <- function(v, d, estimator, controls) {
  made <- list()
  for (g in 1:3) for (t in 1:3) {
    before <- if (t >= g) g - 1 else t - 1
    other <- d$group == 4 | (controls == "not yet treated" & d$group > max(t, before) & d$group != g)
    own <- d$group == g
    s <- d[own | other, ]
    s$v <- v[own | other]; s$own <- as.numeric(s$group == g)
    s$dy <- s[[paste0("y", t)]] - s[[paste0("y", before)]]
    w <- rep(1, nrow(s)); m <- rep(0, nrow(s))
    if (estimator != "gformula") {
      e <- suppressWarnings(fitted(glm(own ~ age + male, binomial, s, weights = v, control = tight)))
      w <- e / (1 - e)
    }
    if (estimator != "iptw") m <- predict(lm(dy ~ age + male, s[s$own == 0, ], weights = v), s)
    r <- s$dy - m
    a <- weighted.mean(r[s$own == 1], s$v[s$own == 1])
    b <- if (estimator == "gformula") 0 else weighted.mean(r[s$own == 0], (s$v * w)[s$own == 0])
    made[[length(made) + 1]] <- c(g, t, a - b)
  }
  att <- do.call(rbind, made)
  p <- sapply(1:3, function(g) sum(v[d$group == g])) / sum(v)
  mean_of <- function(rows) weighted.mean(att[rows, 3], p[att[rows, 1]])
  after <- att[, 2] >= att[, 1]; since <- att[, 2] - att[, 1]
  by_group <- sapply(1:3, function(g) mean_of(after & att[, 1] == g))
  event <- sapply(-2:2, function(e) mean_of(since == e))
  period <- sapply(1:3, function(t) mean_of(after & att[, 2] == t))
  c(att[, 3], weighted.mean(by_group, p), mean_of(after), mean(event[3:5]), mean(period), by_group, event, period)
}

influence <- function(f, n, h = 2e-3) {
  step <- function(i, by) { v <- rep(1, n); v[i] <- 1 + by; f(v) }
  sapply(seq_len(n), function(i)
    (8 * (step(i, h) - step(i, -h)) - (step(i, 2 * h) - step(i, -2 * h))) / (12 * h))
}

cases <- list()
for (estimator in c("aipw", "iptw", "gformula")) for (controls in c("never treated", "not yet treated")) {
  f <- function(v) effects(v, panel, estimator, controls)
  phi <- influence(f, nrow(panel))
  se <- sqrt(rowSums(phi^2))
  early <- c(4, 7, 8)   # group 2 at 1, group 3 at 1 and 2
  value <- f(rep(1, nrow(panel)))
  wald <- drop(value[early] %*% solve(tcrossprod(phi[early, ]), value[early]))
  cases[[length(cases) + 1]] <- list(estimator = estimator, controls = controls, estimate = value, std_error = se, wald = wald)
}
out <- list(software = list(R = as.character(getRversion()), survival = as.character(packageVersion("survival"))),
            data = "survival::pbcseq, see make_panel.R", people = pbc, groups = as.vector(table(panel$group)), cases = cases)
write(toJSON(out, digits = NA, auto_unbox = TRUE, dataframe = "columns", na = "null"), "tests/oracles/panel.json")
