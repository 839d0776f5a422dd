# Reference results for two treatments together, computed by R from the demo table of the package.
#
#   Rscript tests/oracles/make_interaction.R      from the top of the repository; a minute
#
# Debian packages: r-base-core r-cran-survival r-cran-numderiv r-cran-jsonlite. Models are those of glm() and coxph().
# The covariance of the four means is that of the stacked estimating equations, A^-1 B A^-T with A a numerical Jacobian
# (numDeriv). RERI, attributable proportion, synergy index and ratios of ratios are written out, with the delta method on
# numerical gradients (Hosmer & Lemeshow 1992; what epiR::epi.interaction(param = "product") does with written ones).

suppressPackageStartupMessages({ library(numDeriv); library(jsonlite); library(survival) })
options(warn = 1, stringsAsFactors = FALSE)
breast <- read.csv("src/confrere/demos/breast.csv", na.strings = "")
breast$size <- factor(breast$size, c("<=20", "20-50", ">50"))
terms <- "age + size + grade + nodes"
tight <- list(epsilon = 1e-15, maxit = 100)
a <- breast$meno; b <- breast$chemo
arm <- a + 2 * b

# The four means and their covariance.
means <- function(estimator, outcome, family, truncate = NULL) {
  y <- breast[[outcome]]
  first <- glm(as.formula(paste("meno ~", terms)), binomial, breast, control = tight)
  second <- glm(as.formula(paste("chemo ~ meno +", terms)), binomial, breast, control = tight)
  right <- as.formula(paste(outcome, "~ meno * chemo +", terms))
  model <- glm(right, family, breast, control = tight)
  x1 <- model.matrix(first); x2 <- model.matrix(second); z <- model.matrix(model)
  at <- lapply(0:3, function(j) {
    set <- breast; set$meno <- j %% 2; set$chemo <- j %/% 2
    model.matrix(delete.response(terms(right)), set)
  })
  q1 <- ncol(x1); q2 <- ncol(x2); r <- ncol(z)
  bounded <- function(e) if (length(truncate) == 2) pmin(pmax(e, truncate[1]), truncate[2]) else e
  equations <- function(theta) {
    t1 <- theta[1:q1]; t2 <- theta[q1 + 1:q2]; t3 <- theta[q1 + q2 + 1:r]; mu <- theta[q1 + q2 + r + 1:4]
    p1 <- plogis(drop(x1 %*% t1)); p2 <- plogis(drop(x2 %*% t2))
    e1 <- bounded(p1); e2 <- bounded(p2)
    w <- 1 / (ifelse(a == 1, e1, 1 - e1) * ifelse(b == 1, e2, 1 - e2))
    u <- sapply(0:3, function(j) {
      m <- family$linkinv(drop(at[[j + 1]] %*% t3)); mine <- arm == j
      switch(estimator, iptw = w * mine * (y - mu[j + 1]), gformula = m - mu[j + 1],
             aipw = m + w * mine * (y - m) - mu[j + 1])
    })
    cbind(x1 * (a - p1), x2 * (b - p2), z * (y - family$linkinv(drop(z %*% t3))), u)
  }
  nuisance <- c(coef(first), coef(second), coef(model))
  last <- length(nuisance) + 1:4
  at_mu <- function(mu) colSums(equations(c(nuisance, mu)))[last]
  zero <- at_mu(rep(0, 4)); mu <- -zero / (at_mu(rep(1, 4)) - zero)
  theta <- c(nuisance, mu)
  size <- function(x) 1 / apply(x, 2, function(v) sqrt(mean(v^2)))
  scale <- c(size(x1), size(x2), size(z), rep(1, 4))
  more <- if (length(truncate) == 2) list(d = 1e-7, eps = 1e-7, r = 4) else list()
  jac <- jacobian(function(t) colSums(equations(t * scale)), theta / scale, method.args = more) %*% diag(1 / scale)
  bread <- solve(jac)
  vcov <- (bread %*% crossprod(equations(theta)) %*% t(bread))[last, last]
  list(mean = unname(mu), vcov = vcov)
}

source("tests/oracles/joint_measures.R")
standardised <- function(...) {
  m <- means(...)
  c(m, list(difference = delta(excess, m$mean, m$vcov), both = delta(function(t) log(t[4] / t[1]), m$mean, m$vcov),
            margin = delta(function(t) (t[2] + t[4] - t[1] - t[3]) / 2, m$mean, m$vcov)),
    measures(identity, m$mean, m$vcov))
}
regressed <- function(fit, vcov = vcov(fit)) {
  at <- c("meno", "chemo", if ("meno:chemo" %in% names(coef(fit))) "meno:chemo" else "chemo:meno")
  b <- unname(coef(fit)[at]); v <- unname(vcov[at, at])
  c(list(estimate = b, vcov = v), measures(function(t) exp(c(0, t[1], t[2], sum(t))), b, v))
}
logit <- glm(as.formula(paste("recur ~ meno * chemo +", terms)), binomial, breast, control = tight)
formula <- as.formula(paste("Surv(rtime, recur) ~ meno * chemo +", terms, "+ strata(hospital)"))
control <- coxph.control(eps = 1e-15, toler.chol = 1e-16, iter.max = 50)
cox <- coxph(formula, breast, control = control)
for (step in 1:9) cox <- coxph(formula, breast, control = control, init = coef(cox))  # the last digits
out <- list(
  iptw = standardised("iptw", "recur", binomial()),
  truncated = standardised("iptw", "recur", binomial(), c(0.1, 0.9)),
  gformula = standardised("gformula", "recur", binomial()),
  aipw = standardised("aipw", "recur", binomial(), c(0.1, 0.9)),
  counts = standardised("aipw", "er", poisson()),
  logistic = regressed(logit, vcov(logit)), cox = regressed(cox, vcov(cox))
)
write(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE), "tests/oracles/interaction.json")
