# Reference results for prognostic covariate adjustment of times to events, computed by R from the demo table breast.
#
#   Rscript tests/oracles/make_prognostic_times.R      from the top of the repository; a minute
#
# Debian packages: r-base-core r-cran-survival r-cran-jsonlite. Who is in the trial, and in which arm, is made of the
# person's number, as in make_prognostic.R. The score is the linear predictor of coxph among untreated people outside the
# trial, stratified by hospital; hazard ratios are coxph's (given the score or covariates stratified too), with
# residuals(type = "dfbeta") squared; the ratio of everybody
# adjusted for the score is written out from residuals(type = "score") by arm. 2,000 simulated trials say whether its
# variance, and what a test gains, are what they should be.

suppressPackageStartupMessages({ library(survival); library(jsonlite) })
breast <- read.csv("src/confrere/demos/breast.csv", na.strings = "")
breast$size <- factor(breast$size, c("<=20", "20-50", ">50"))
breast$inside <- as.numeric(breast$pid %% 4 == 0)
breast$a <- as.numeric(breast$pid %% 8 == 0)
breast$lognodes <- log(breast$nodes + 1)
outside <- breast[breast$inside == 0 & breast$a == 0, ]
inside <- breast[breast$inside == 1, ]

exact <- function(formula, data) {   # coxph stops early: Newton's method until nothing moves
  at <- function(start, rounds) suppressWarnings(do.call(coxph, c(list(formula, data = data, x = TRUE,
    control = coxph.control(eps = 1e-15, iter.max = rounds, toler.chol = 1e-16)), start)))
  fit <- at(NULL, 100)
  for (i in 1:3) fit <- at(list(init = coef(fit) + drop(vcov(fit) %*% colSums(as.matrix(residuals(fit, "score"))))), 0)
  fit
}

# The marginal log hazard ratio, adjusted for m: by arm the outcome O, whose difference of means is the ratio's influence.
adjusted <- function(fit, m, a, share = mean(a), deflate = 1) {
  n <- length(a); o <- residuals(fit, "score") * vcov(fit)[1, 1] * n * ifelse(a == 1, mean(a), -mean(1 - a))
  by <- lapply(0:1, function(arm) { i <- a == arm; list(n = sum(i), s = sd(o[i]), r = cor(o[i], m[i]), b = cov(o[i], m[i]) / var(m[i]), m = mean(m[i])) })
  s <- sapply(by, `[[`, "s"); r <- sapply(by, `[[`, "r"); p <- c(1 - mean(a), mean(a))
  variance <- function(r) {
    c0 <- p[1] * r[1] * s[1] + p[2] * r[2] * s[2]
    s[1]^2 / p[1] + s[2]^2 / p[2] + c0 / prod(p) * (c0 - 2 * (p[2] * r[1] * s[1] + p[1] * r[2] * s[2]))
  }
  list(estimate = unname(coef(fit)[1]) - (by[[2]]$b * (by[[2]]$m - mean(m)) - by[[1]]$b * (by[[1]]$m - mean(m))),
       std_error = sqrt(variance(r) / n), correlation = r, multiplier = variance(deflate * r) / variance(c(0, 0)))
}

case <- function(outcome, score, covariates, share, deflate, difference, power, alpha) {
  model <- exact(as.formula(paste(outcome, "~", score, "+ strata(hospital)")), outside)
  inside$m <- drop(model.matrix(as.formula(paste("~", score)), inside)[, -1] %*% coef(model))
  with <- function(right) exact(as.formula(paste(outcome, "~ a", right)), inside)
  more <- if (covariates != "") paste("+", covariates) else ""
  fits <- list(none = with(""))
  if (covariates != "") fits$covariates <- with(paste(more, "+ strata(hospital)"))
  fits$score <- with(paste(more, "+ m + strata(hospital)"))
  robust <- function(fit) sqrt(crossprod(as.matrix(residuals(fit, "dfbeta")))[1, 1])
  own <- adjusted(fits$none, inside$m, inside$a, share, deflate)
  rate <- fits$none$nevent / nrow(inside); v <- c(1, own$multiplier) / (share * (1 - share) * rate)
  need <- (qnorm(1 - alpha / 2) + qnorm(power))^2 * v / difference^2; n <- ceiling(need)
  list(call = list(outcome = outcome, score = score, covariates = covariates, share = share, deflate = deflate,
                   difference = difference, power = power, alpha = alpha),
       n = nrow(inside), events = fits$none$nevent, learned_from = nrow(outside), learned = unname(coef(model)),
       estimate = c(unname(sapply(fits, function(f) coef(f)["a"])), own$estimate),
       std_error = c(unname(sapply(fits, robust)), own$std_error), correlation = own$correlation,
       variance = v, people = n, planned_events = ceiling(need * rate), control = ceiling(n * (1 - share) - 1e-9),
       reached = pnorm(abs(difference) / sqrt(v / n[1]) - qnorm(1 - alpha / 2)))
}

# 2,000 trials of 400 with a score that says much (SD 1.2 of the log hazard), a third of the people censored: the errors of
# the marginal ratio, its distance from what 400,000 people say, and how often each test finds the effect.
simulated <- function() {
  set.seed(17); n <- 400; theta <- -0.3
  draw <- function(n, effect) {
    a <- as.numeric(runif(n) < 0.5); m <- rnorm(n, 0, 1.2)
    t <- rexp(n) * exp(-(effect * a + m)); c <- runif(n, 0, 3)
    data.frame(a, m, time = pmin(t, c), event = as.numeric(t <= c))
  }
  truth <- unname(coef(coxph(Surv(time, event) ~ a, draw(4e5, theta)))[1])
  got <- t(replicate(2000, {
    d <- draw(n, theta); plain <- coxph(Surv(time, event) ~ a, d); score <- coxph(Surv(time, event) ~ a + m, d)
    own <- adjusted(plain, d$m, d$a)
    c(none = unname(coef(plain)), none_se = sqrt(sum(residuals(plain, "dfbeta")^2)), own = own$estimate, own_se = own$std_error,
      multiplier = own$multiplier, score = unname(coef(score)[1]), score_se = sqrt(vcov(score)[1, 1]), events = sum(d$event))
  }))
  held <- function(x, se) mean(abs(got[, x] - truth) < qnorm(0.975) * got[, se])
  found <- function(x, se) mean(got[, x] / got[, se] < -qnorm(0.975))
  z <- function(power) qnorm(power) + qnorm(0.975)
  list(truth = truth, conditional = theta, sims = nrow(got), held_none = held("none", "none_se"), held_own = held("own", "own_se"),
       sd_none = sd(got[, "none"]), sd_own = sd(got[, "own"]), se_none = mean(got[, "none_se"]), se_own = mean(got[, "own_se"]),
       multiplier = mean(got[, "multiplier"]), mean_score = mean(got[, "score"]),
       power_none = found("none", "none_se"), power_own = found("own", "own_se"), power_score = found("score", "score_se"),
       saved_by_test = (z(found("none", "none_se")) / z(found("score", "score_se")))^2)
}

out <- list(
  software = list(R = as.character(getRversion()), survival = as.character(packageVersion("survival"))),
  data = "breast demo; in the trial: pid divisible by 4; treated: by 8",
  cases = list(
    score = case("Surv(rtime, recur)", "lognodes + grade + age", "", 0.5, 1, -0.3, 0.8, 0.05),
    covariates = case("Surv(dtime, death)", "age + size + lognodes", "chemo + meno", 2 / 3, 0.9, 0.25, 0.9, 0.05)
  ),
  simulated = simulated()
)
write_json(out, "tests/oracles/prognostic_times.json", digits = NA, auto_unbox = TRUE)
print(out$simulated)
