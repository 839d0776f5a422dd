# Reference results for treatment effects, computed by R from the demo table of the package.
#
#   Rscript tests/oracles/make_effects.R      from the top of the repository; a minute
#
# Debian packages: r-base-core r-cran-sandwich r-cran-numderiv r-cran-jsonlite. What it holds stands in
# tests/oracles/README.md. Models are those of glm(). The variance is that of the stacked estimating equations of the
# models and of the two means: A^-1 B A^-T with A the Jacobian of their sums, found by Richardson extrapolation
# (numDeriv), so that no derivative is taken by hand.

suppressPackageStartupMessages({ library(numDeriv); library(jsonlite); library(sandwich) })
options(warn = 1, stringsAsFactors = FALSE)
breast <- read.csv("src/confrere/demos/breast.csv", na.strings = "")
breast$size <- factor(breast$size, c("<=20", "20-50", ">50"))
breast$receptor <- log(breast$pgr + 1)
terms <- "age + meno + size + grade + nodes"
tight <- list(epsilon = 1e-15, maxit = 100)

weights_of <- function(eta, a, estimand, truncate = NULL, share = NULL) {
  e <- plogis(eta)
  if (length(truncate) == 2) e <- pmin(pmax(e, truncate[1]), truncate[2])
  tilt <- switch(estimand, ATE = rep(1, length(e)), ATT = e, ATO = e * (1 - e), ATM = pmin(e, 1 - e))
  w <- ifelse(a == 1, tilt / e, tilt / (1 - e))
  if (!is.null(share)) w <- w * ifelse(a == 1, share, 1 - share)
  if (length(truncate) == 1) w <- pmin(w, truncate)
  list(w = w, tilt = if (estimand == "ATT") a else tilt)
}

# One effect: `spec` names estimator, estimand, family, outcome, outcome model, truncation, ridge.
effect <- function(spec, data = breast) {
  a <- data$hormon
  y <- data[[spec$outcome]]
  treating <- glm(as.formula(paste("hormon ~", terms)), binomial, data, control = tight)
  x <- model.matrix(treating)
  family <- switch(spec$family, gaussian = gaussian(), binomial = binomial(), poisson = poisson())
  right <- as.formula(paste(spec$outcome, "~", if (is.null(spec$model)) paste("hormon +", terms) else spec$model))
  outcome <- glm(right, family, data, control = tight)
  z <- lapply(list(data$hormon, 0, 1), function(set) {
    data$hormon <- set
    model.matrix(delete.response(terms(right)), data)
  })
  q <- ncol(x); r <- ncol(z[[1]])
  weighs <- spec$estimator != "gformula"; standardises <- spec$estimator != "iptw"
  share <- if (isTRUE(spec$stabilised)) mean(a) else NULL
  equations <- function(theta) {
    alpha <- theta[seq_len(q)]; beta <- theta[q + seq_len(r)]; mu <- theta[q + r + 1:2]
    eta <- drop(x %*% alpha)
    u <- weights_of(eta, a, spec$estimand, spec$truncate, share)
    if (!weighs) u <- list(w = rep(0, length(a)), tilt = if (spec$estimand == "ATT") a else rep(1, length(a)))
    arm <- function(set, mean) {
      m <- if (standardises) family$linkinv(drop(z[[set + 2]] %*% beta)) else mean
      u$tilt * (m - mean) * standardises + u$w * (a == set) * (y - m)
    }
    cbind(x * (a - plogis(eta)), z[[1]] * (y - family$linkinv(drop(z[[1]] %*% beta))), arm(0, mu[1]), arm(1, mu[2]))
  }
  nuisance <- c(coef(treating), coef(outcome))
  at <- function(mu) colSums(equations(c(nuisance, mu)))[q + r + 1:2]
  zero <- at(c(0, 0)); mu <- -zero / (at(c(1, 1)) - zero)  # the equations are linear in mu
  theta <- c(nuisance, mu)
  # columns in units of their spread: the Jacobian's condition is then that of the models
  scale <- c(1 / apply(x, 2, function(v) sqrt(mean(v^2))), 1 / apply(z[[1]], 2, function(v) sqrt(mean(v^2))), 1, 1)
  jac <- jacobian(function(t) colSums(equations(t * scale)), theta / scale,
                  method.args = if (length(spec$truncate) == 2) list(d = 1e-7, eps = 1e-7, r = 4) else list()) %*%
    diag(1 / scale)  # small steps, so that nobody crosses a bound
  bread <- solve(jac)
  vcov <- (bread %*% crossprod(equations(theta)) %*% t(bread))[q + r + 1:2, q + r + 1:2]
  u <- equations(theta)[, q + r + 1:2]
  base <- -diag(jac)[q + r + 1:2]
  fixed <- crossprod(u) / outer(base, base)  # as if the models were known
  w <- weights_of(drop(x %*% coef(treating)), a, spec$estimand, spec$truncate, share)$w
  list(spec = spec, mean = mu, vcov = vcov, vcov_fixed = fixed, n = nrow(data),
       effective = if (weighs) c(sum(w[a == 0])^2 / sum(w[a == 0]^2), sum(w[a == 1])^2 / sum(w[a == 1]^2)))
}

spec <- function(...) list(...)
cases <- list(
  iptw_ate = spec(estimator = "iptw", estimand = "ATE", family = "binomial", outcome = "recur"),
  iptw_att = spec(estimator = "iptw", estimand = "ATT", family = "binomial", outcome = "recur"),
  iptw_ato = spec(estimator = "iptw", estimand = "ATO", family = "gaussian", outcome = "receptor"),
  iptw_atm = spec(estimator = "iptw", estimand = "ATM", family = "poisson", outcome = "er"),
  iptw_stabilised = spec(estimator = "iptw", estimand = "ATE", family = "gaussian", outcome = "receptor",
                         stabilised = TRUE, truncate = 5),
  iptw_weight_10 = spec(estimator = "iptw", estimand = "ATE", family = "gaussian", outcome = "receptor", truncate = 10),
  iptw_bounds = spec(estimator = "iptw", estimand = "ATE", family = "binomial", outcome = "recur",
                     truncate = c(0.05, 0.9)),
  gformula_binary = spec(estimator = "gformula", estimand = "ATE", family = "binomial", outcome = "recur"),
  gformula_att = spec(estimator = "gformula", estimand = "ATT", family = "binomial", outcome = "recur",
                      model = "hormon * (age + nodes) + meno + size + grade"),
  gformula_count = spec(estimator = "gformula", estimand = "ATE", family = "poisson", outcome = "er"),
  gformula_number = spec(estimator = "gformula", estimand = "ATE", family = "gaussian", outcome = "receptor"),
  aipw_ate = spec(estimator = "aipw", estimand = "ATE", family = "binomial", outcome = "recur"),
  aipw_att = spec(estimator = "aipw", estimand = "ATT", family = "gaussian", outcome = "receptor",
                  model = "hormon * (age + nodes) + meno + size + grade"),
  aipw_ato = spec(estimator = "aipw", estimand = "ATO", family = "binomial", outcome = "recur"),
  aipw_atm = spec(estimator = "aipw", estimand = "ATM", family = "poisson", outcome = "er")
)
found <- lapply(cases, effect)

# Propensities trimmed and fitted again.
treating <- glm(as.formula(paste("hormon ~", terms)), binomial, breast, control = tight)
kept <- breast[fitted(treating) >= 0.05 & fitted(treating) < 0.4, ]
found$trimmed <- effect(spec(estimator = "iptw", estimand = "ATE", family = "binomial", outcome = "recur",
                             trim = c(0.05, 0.4)), kept)

# A propensity with an intercept for each hospital.
everywhere <- terms
terms <- paste(terms, "+ factor(hospital)")
found$own_intercepts <- effect(spec(estimator = "iptw", estimand = "ATE", family = "binomial", outcome = "recur",
                                    hospital_effects = TRUE))
found$own_intercepts_aipw <- effect(spec(estimator = "aipw", estimand = "ATT", family = "binomial", outcome = "recur",
                                         hospital_effects = TRUE, model = paste("hormon +", everywhere)))
terms <- everywhere

# Balance: standardised differences of the columns of the propensity's design, variances with n - 1.
x <- model.matrix(treating)[, -1]
a <- breast$hormon
w <- weights_of(treating$linear.predictors, a, "ATE")$w
sd <- sqrt((apply(x[a == 1, ], 2, var) + apply(x[a == 0, ], 2, var)) / 2)
difference <- function(w) (colSums(w * a * x) / sum(w * a) - colSums(w * (1 - a) * x) / sum(w * (1 - a))) / sd
spread <- function(arm) {  # weighted variances, by effective numbers of people
  v <- w[a == arm]; n <- sum(v)^2 / sum(v^2); mean <- colSums(v * x[a == arm, ]) / sum(v)
  colSums(v * sweep(x[a == arm, ], 2, mean)^2) / sum(v) * n / (n - 1)
}
means <- function(w) lapply(0:1, function(arm) unname(apply(x[a == arm, ], 2, weighted.mean, w[a == arm])))
balance <- list(means_before = means(rep(1, length(a))), means_after = means(w), variance_ratio = unname(spread(1) / spread(0)), term = colnames(x), before = unname(difference(rep(1, length(a)))), after = unname(difference(w)))

out <- list(
  software = list(R = R.version.string, numDeriv = as.character(packageVersion("numDeriv"))),
  data = "src/confrere/demos/breast.csv; receptor = log(pgr + 1)", terms = terms, cases = found, balance = balance,
  propensity = list(term = names(coef(treating)), estimate = unname(coef(treating)),
                    std_error = unname(sqrt(diag(vcov(treating)))))
)
write(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE), "tests/oracles/effects.json")
