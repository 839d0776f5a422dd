# Reference results of sensitivity and calibration of effects: Rscript tests/oracles/make_controls.R FOLDER
#
# FOLDER holds empcal_sccs.csv, empcal_grahamReplication.csv and empcal_southworthReplication.csv, the data sets of
# OHDSI's R package EmpiricalCalibration 3.1.4 (Schuemie 2014, 2018). Its likelihoods are written out here and maximised
# to the end, where the package's optim() stops at a relative 1e-8 of the likelihood. E-values by the formulas of Table 2
# of VanderWeele & Ding 2017 (as R's EValue 4.1.3 has them); those of the risk difference by its search on a grid.
# Written to controls.json.

folder <- commandArgs(trailingOnly = TRUE)[1]
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(FALSE), value = TRUE)))

maximum <- function(theta, minus) {
  for (i in 1:20) theta <- optim(theta, minus, control = list(maxit = 5000, reltol = 1e-15))$par
  theta
}
null_of <- function(y, s) {
  t <- maximum(c(mean(y), log(sd(y))), function(t) -sum(dnorm(y, t[1], sqrt(exp(2 * t[2]) + s^2), log = TRUE)))
  c(mean = t[1], sd = exp(t[2]))
}
errors_of <- function(y, s, truth) {
  minus <- function(t) {
    sd <- t[3] + t[4] * abs(truth)
    if (any(sd < 0)) return(1e10)
    -sum(dnorm(y, t[1] + t[2] * truth, sqrt(sd^2 + s^2), log = TRUE))
  }
  maximum(c(0, 1, 0.1, 0), minus)
}
ease <- function(null) integrate(function(x) abs(x) * dnorm(x, null[1], null[2]), -Inf, Inf, rel.tol = 1e-10)$value
p_value <- function(null, y, s) 2 * pnorm(-abs(y - null[1]) / sqrt(null[2]^2 + s^2))
limits <- function(m, y, s) {
  at <- function(z) uniroot(function(x) m[1] + m[2] * x + z * sqrt((m[3] + m[4] * abs(x))^2 + s^2) - y, c(-50, 50),
                            tol = 1e-13)$root
  c(at(0), at(qnorm(0.975)), at(qnorm(0.025)))
}
case <- function(y, s, truth, target) {
  null <- null_of(y[truth == 0], s[truth == 0])
  model <- if (all(truth == 0)) c(null[1], 1, null[2], 0) else errors_of(y, s, truth)
  list(null = unname(null), errors = unname(model), ease = ease(null),
       p_value = unname(p_value(null, target[1], target[2])), limits = unname(limits(model, target[1], target[2])))
}
sets <- list()
d <- read.csv(file.path(folder, "empcal_sccs.csv"))
known <- d[d$groundTruth == 0, ]; asked <- d[d$groundTruth == 1, ]
sets$sccs <- case(known$logRr, known$seLogRr, 0 * known$logRr, c(asked$logRr, asked$seLogRr))
for (name in c("grahamReplication", "southworthReplication")) {
  d <- read.csv(file.path(folder, paste0("empcal_", name, ".csv")))
  known <- d[!is.na(d$trueLogRr), ]; asked <- d[is.na(d$trueLogRr), ]
  sets[[name]] <- case(known$logRr, known$seLogRr, known$trueLogRr, c(asked$logRr[1], asked$seLogRr[1]))
}

e <- function(r) { r <- ifelse(r < 1, 1 / r, r); r + sqrt(r * (r - 1)) }
risk_difference <- function(n11, n10, n01, n00, grid = 1e-5) {
  N1 <- n11 + n10; N0 <- n01 + n00; f <- N1 / (N1 + N0); p1 <- n11 / N1; p0 <- n01 / N0
  v1 <- p1 * (1 - p1) / N1; v0 <- p0 * (1 - p0) / N0; vf <- f * (1 - f) / (N1 + N0)
  B <- seq(1, p1 / p0, grid); rd <- p1 - p0 * B; share <- f + (1 - f) / B
  low <- rd * share - qnorm(0.975) * sqrt((v1 + v0 * B^2) * share^2 + rd^2 * (1 - 1 / B)^2 * vf)
  list(n = c(n11, n10, n01, n00), e_value = e(p1 / p0), limit = e(B[which(low <= 0)[1]]))
}
hazard <- function(h) (1 - 0.5^sqrt(h)) / (1 - 0.5^sqrt(1 / h))
evalues <- list(
  risk_ratio = list(ratio = c(3.9, 1.8, 8.7), e_value = e(3.9), limit = e(1.8)),        # VanderWeele & Ding: 7.26, 3.0
  odds_ratio = list(ratio = c(0.86, 0.75, 0.99), e_value = e(sqrt(0.86)), limit = e(sqrt(0.99))),
  hazard_ratio = list(ratio = c(0.56, 0.46, 0.69), e_value = e(hazard(0.56)), limit = e(hazard(0.69))),
  mean_difference = list(d = c(-0.42, 0.14), e_value = e(exp(0.91 * -0.42)),
                         limit = e(exp(0.91 * -0.42 + 1.78 * 0.14))),
  risk_difference = risk_difference(397, 78557, 51, 108778)                              # Hammond & Horn 1958
)
out <- list(made = list(script = "make_controls.R", R = R.version.string), calibration = sets, evalues = evalues)
writeLines(jsonlite::toJSON(out, auto_unbox = TRUE, digits = NA, pretty = TRUE), file.path(here, "controls.json"))
