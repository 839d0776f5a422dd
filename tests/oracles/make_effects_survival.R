# Reference results for treatment effects on times to events, computed by R from the demo tables of the package.
#
#   Rscript tests/oracles/make_effects_survival.R      from the top of the repository; some minutes
#
# Debian packages: r-base-core r-cran-survival r-cran-numderiv r-cran-jsonlite. What it holds stands in
# tests/oracles/README.md. Propensities are glm's. Hazard ratios are those of coxph(weights = w), whose score, written out
# below with Efron's ties, is brought to 0 (coxph stops early). Weighted curves are survfit's. Influences of people on the
# score and on curves are survival's own residuals and influence matrices (of Kaplan-Meier written out below); what the propensity adds is the derivative by
# its coefficients found by Richardson extrapolation (numDeriv), so that no derivative is taken by hand.

suppressPackageStartupMessages({ library(survival); library(numDeriv); library(jsonlite) })
options(warn = 1, stringsAsFactors = FALSE)
breast <- read.csv("src/confrere/demos/breast.csv", na.strings = "")
breast$size <- factor(breast$size, c("<=20", "20-50", ">50"))
breast$a <- breast$hormon
myeloma <- read.csv("src/confrere/demos/myeloma.csv", na.strings = "")
myeloma$event <- factor(myeloma$event, c("censored", "progression", "death"))
myeloma <- myeloma[!is.na(myeloma$mspike) & !is.na(myeloma$hgb), ]
myeloma$a <- as.numeric(myeloma$sex == "M")
tight <- list(epsilon = 1e-15, maxit = 100)

weights_of <- function(eta, a, spec, share) {
  e <- plogis(eta)
  if (length(spec$truncate) == 2) e <- pmin(pmax(e, spec$truncate[1]), spec$truncate[2])
  tilt <- switch(spec$estimand, ATE = rep(1, length(e)), ATT = e, ATO = e * (1 - e), ATM = pmin(e, 1 - e))
  w <- ifelse(a == 1, tilt / e, tilt / (1 - e))
  if (isTRUE(spec$stabilised)) w <- w * ifelse(a == 1, share, 1 - share)
  if (length(spec$truncate) == 1) w <- pmin(w, spec$truncate)
  w
}

# Cox's weighted score of one covariate, by stratum and event time, ties by Efron or Breslow.
score_of <- function(beta, w, data, efron) {
  total <- 0
  for (rows in split(seq_len(nrow(data)), data$stratum)) {
    a <- data$a[rows]; time <- data$time[rows]; event <- data$event01[rows] == 1; v <- w[rows]
    r <- v * exp(beta * a)
    total <- total + sum(v[event] * a[event])
    for (t in unique(time[event])) {
      risk <- time >= t; dead <- event & time == t
      d <- sum(dead); f <- if (efron) (seq_len(d) - 1) / d else rep(0, d)
      s0 <- sum(r[risk]); s1 <- sum(r[risk] * a[risk]); d0 <- sum(r[dead]); d1 <- sum(r[dead] * a[dead])
      total <- total - sum(v[dead]) / d * sum((s1 - f * d1) / (s0 - f * d0))
    }
  }
  total
}

# What the propensity is: design, coefficients, and what each person moves the coefficients by.
propensity_of <- function(formula, data) {
  fit <- glm(formula, binomial, data, control = tight)
  x <- model.matrix(fit)
  list(x = x, alpha = coef(fit), moves = (x * (data$a - fitted(fit))) %*% solve(crossprod(x * sqrt(fitted(fit) * (1 - fitted(fit))))))
}

# Derivatives of a function of (coefficients, share), columns in units of their spread.
slopes <- function(f, p, share, bounded) {
  scale <- c(1 / apply(p$x, 2, function(v) sqrt(mean(v^2))), 1)
  theta <- c(p$alpha, share)
  small <- if (bounded) list(d = 1e-7, eps = 1e-7, r = 4) else list()  # nobody crosses a bound
  matrix(jacobian(function(t) f(t * scale), theta / scale, method.args = small), ncol = length(theta)) %*% diag(1 / scale)
}

with_propensity <- function(phi, slope, p, data, share) {
  q <- length(p$alpha)
  phi + p$moves %*% t(slope[, 1:q, drop = FALSE]) + ((data$a - share) / nrow(data)) %*% t(slope[, q + 1])
}

hazard_ratio <- function(spec, data, p) {
  share <- mean(data$a)
  data$stratum <- if (isTRUE(spec$shared)) "all" else data$hospital
  efron <- is.null(spec$ties)
  w <- weights_of(drop(p$x %*% p$alpha), data$a, spec, share)
  beta <- uniroot(function(b) score_of(b, w, data, efron), c(-5, 5), tol = 1e-14)$root
  data$w <- w
  fit <- suppressWarnings(coxph(Surv(time, event01) ~ a + strata(stratum), data, weights = w, ties = if (efron) "efron" else "breslow",
               init = beta, control = coxph.control(iter.max = 0), robust = TRUE))
  phi <- residuals(fit, "score", weighted = TRUE)
  slope <- slopes(function(t) {
    score_of(beta, weights_of(drop(p$x %*% t[seq_along(p$alpha)]), data$a, spec, t[length(t)]), data, efron)
  }, p, share, !is.null(spec$truncate))
  moved <- with_propensity(matrix(phi), slope, p, data, share) * drop(fit$naive.var)
  list(spec = spec, n = nrow(data), estimate = beta, std_error = sqrt(sum(moved^2)), naive = sqrt(drop(fit$naive.var)),
       robust = sqrt(drop(fit$var)), coxph = unname(coef(suppressWarnings(coxph(Surv(time, event01) ~ a + strata(stratum), data, weights = w,
         ties = if (efron) "efron" else "breslow", control = coxph.control(eps = 1e-15, iter.max = 100))))))
}

# The derivative of Kaplan-Meier's survival by everybody's weight, (people, times): -S sum (dN - Y d/n)/(n - d).
# (survfit's influence.surv is that but for ties, where it is a few 1e-6 off.)
km_by_weight <- function(mine, fit) {
  n <- vapply(fit$time, function(t) sum(mine$w[mine$time >= t]), 0)
  d <- vapply(fit$time, function(t) sum(mine$w[mine$time == t & mine$event01 == 1]), 0)
  own <- outer(mine$time, fit$time, "==") * (mine$event01 == 1)
  risk <- outer(mine$time, fit$time, ">=")
  steps <- sweep(own - sweep(risk, 2, d / n, "*"), 2, ifelse(d > 0, n - d, Inf), "/")
  list(by_weight = -sweep(t(apply(steps, 1, cumsum)), 2, fit$surv, "*"))
}

# Risks at times by arm and cause, and restricted means, with the covariance of all of them.
curves <- function(spec, data, p, outcome, causes, times, tau) {
  share <- mean(data$a)
  values <- function(w, influence = FALSE) {
    found <- NULL; moves <- NULL
    data$w <- w
    for (arm in 0:1) {
      mine <- data[data$a == arm, ]; mine$person <- seq_len(nrow(mine))
      fit <- survfit(outcome, mine, weights = w, influence = if (influence) 1 else FALSE, id = person)
      at <- findInterval(times, fit$time)
      if (influence && length(causes) == 1) curve <- km_by_weight(mine, fit)
      several <- length(causes) > 1
      for (cause in seq_along(causes)) {
        found <- c(found, if (several) fit$pstate[at, cause + 1] else 1 - fit$surv[at])
        if (influence) {
          own <- if (several) fit$influence.pstate[, at + 1, cause + 1] else -curve$by_weight[, at]  # the first is of time 0
          all <- matrix(0, nrow(data), length(times)); all[data$a == arm, ] <- own; moves <- cbind(moves, all)
        }
      }
      if (!several) {
        inside <- fit$time < tau
        widths <- diff(c(0, fit$time[inside], tau))
        found <- c(found, sum(c(1, fit$surv[inside]) * widths))
        if (influence) {
          all <- numeric(nrow(data)); all[data$a == arm] <- drop(cbind(0, curve$by_weight[, inside]) %*% widths)
          moves <- cbind(moves, all)
        }
      }
    }
    list(found = unname(found), moves = moves)
  }
  weight <- function(t) weights_of(drop(p$x %*% t[seq_along(p$alpha)]), data$a, spec, t[length(t)])
  w <- weight(c(p$alpha, share))
  got <- values(w, TRUE)
  slope <- slopes(function(t) values(weight(t))$found, p, share, !is.null(spec$truncate))
  moved <- with_propensity(w * got$moves, slope, p, data, share)
  list(spec = spec, n = nrow(data), times = times, tau = tau, causes = causes, values = got$found, vcov = crossprod(unname(moved)),
       vcov_fixed = crossprod(unname(w * got$moves)))
}

spec <- function(...) list(...)
breast$time <- breast$rtime; breast$event01 <- breast$recur
p <- propensity_of(hormon ~ age + meno + size + grade + nodes, breast)
cases <- list(
  ate = spec(estimand = "ATE"), att = spec(estimand = "ATT"), ato = spec(estimand = "ATO"), atm = spec(estimand = "ATM"),
  breslow = spec(estimand = "ATE", ties = "breslow"), shared = spec(estimand = "ATE", shared = TRUE),
  shared_ato = spec(estimand = "ATO", shared = TRUE), stabilised = spec(estimand = "ATE", stabilised = TRUE),
  stabilised_bound = spec(estimand = "ATE", stabilised = TRUE, truncate = 3), weight_10 = spec(estimand = "ATE", truncate = 10),
  bounds = spec(estimand = "ATE", truncate = c(0.05, 0.9))
)
found <- lapply(cases, hazard_ratio, breast, p)
read <- lapply(cases[c("ate", "ato", "stabilised_bound")], curves, breast, p, Surv(time, event01) ~ 1, "", c(730, 1826), 1826)

myeloma$time <- myeloma$etime; myeloma$event01 <- as.numeric(myeloma$event == "progression")
pm <- propensity_of(a ~ age + hgb + mspike, myeloma)
causes <- c("progression", "death")
found$cause <- hazard_ratio(spec(estimand = "ATE"), myeloma, pm)
read$causes <- curves(spec(estimand = "ATE"), myeloma, pm, Surv(time, event) ~ 1, causes, c(60, 120), 120)

out <- list(
  software = list(R = R.version.string, survival = as.character(packageVersion("survival")), numDeriv = as.character(packageVersion("numDeriv"))),
  data = "src/confrere/demos/breast.csv; of causes: myeloma.csv, a = 1 for sex M, complete in hgb and mspike",
  hazard_ratios = found, curves = read
)
write(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE), "tests/oracles/effects_survival.json")
