# Reference results for two treatments together and the time to an event, computed by R from the demo table of the package.
#
#   Rscript tests/oracles/make_interaction_survival.R      from the top of the repository; some minutes
#
# Debian packages: r-base-core r-cran-survival r-cran-numderiv r-cran-jsonlite. Propensities are glm's, curves those of
# survfit(weights = w), arm by arm, on exact times. No derivative is taken by hand: that of the values by everybody's
# weight is found by differences of survfit of four points, that by the coefficients of both propensities by Richardson
# extrapolation (numDeriv); what a person moves the coefficients by is of the scores of glm.

suppressPackageStartupMessages({ library(survival); library(numDeriv); library(jsonlite) })
options(warn = 1, stringsAsFactors = FALSE)
breast <- read.csv("src/confrere/demos/breast.csv", na.strings = "")
breast$size <- factor(breast$size, c("<=20", "20-50", ">50"))
terms <- "age + size + grade + nodes"
tight <- list(epsilon = 1e-15, maxit = 100)
a <- breast$meno; b <- breast$chemo
arm <- a + 2 * b
times <- c(1095, 1826); tau <- 1826
source("tests/oracles/joint_measures.R")

fits <- list(glm(as.formula(paste("meno ~", terms)), binomial, breast, control = tight),
             glm(as.formula(paste("chemo ~ meno +", terms)), binomial, breast, control = tight))
x <- lapply(fits, model.matrix)
alpha <- unlist(lapply(fits, coef))
own <- rep(1:2, lengths(lapply(fits, coef)))
moves <- do.call(cbind, lapply(1:2, function(i) {
  e <- fitted(fits[[i]])
  (x[[i]] * (list(a, b)[[i]] - e)) %*% solve(crossprod(x[[i]] * sqrt(e * (1 - e))))
}))

weights_of <- function(theta, truncate) {
  e <- lapply(1:2, function(i) {
    e <- plogis(drop(x[[i]] %*% theta[own == i]))
    if (length(truncate) == 2) pmin(pmax(e, truncate[1]), truncate[2]) else e
  })
  w <- lapply(1:2, function(i) ifelse(list(a, b)[[i]] == 1, 1 / e[[i]], 1 / (1 - e[[i]])))
  if (length(truncate) == 1) w <- lapply(w, pmin, truncate)
  w[[1]] * w[[2]]
}

# Risks at the times and the restricted mean of one arm.
read <- function(j, w) {
  mine <- arm == j
  fit <- survfit(Surv(rtime[mine], recur[mine]) ~ 1, weights = w[mine], se.fit = FALSE)
  inside <- fit$time < tau
  c(1 - fit$surv[findInterval(times, fit$time)], sum(c(1, fit$surv[inside]) * diff(c(0, fit$time[inside], tau))))
}
rtime <- breast$rtime; recur <- breast$recur
values <- function(w) as.vector(t(sapply(0:3, read, w)))  # value by value, arm by arm within it
by_weight <- function(w) {
  k <- length(times) + 1
  out <- matrix(0, nrow(breast), 4 * k)
  for (i in seq_len(nrow(breast))) {
    h <- 1e-3 * w[i]
    at <- function(step) { v <- w; v[i] <- v[i] + step; read(arm[i], v) }
    out[i, arm[i] + 1 + 4 * (seq_len(k) - 1)] <- (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
  }
  out
}

curves <- function(truncate = NULL) {
  w <- weights_of(alpha, truncate)
  scale <- 1 / unlist(lapply(x, function(m) apply(m, 2, function(v) sqrt(mean(v^2)))))
  more <- if (length(truncate) > 0) list(d = 1e-7, eps = 1e-7, r = 4) else list()  # nobody crosses a bound
  slope <- jacobian(function(t) values(weights_of(t * scale, truncate)), alpha / scale, method.args = more) %*% diag(1 / scale)
  known <- w * by_weight(w)
  moved <- known + moves %*% t(slope)
  found <- values(w)
  of <- function(v, i) if (is.matrix(v)) v[4 * (i - 1) + 1:4, 4 * (i - 1) + 1:4] else v[4 * (i - 1) + 1:4]
  vcov <- crossprod(unname(moved))
  read_off <- lapply(seq_len(length(times) + 1), function(i) {
    r <- of(found, i); v <- of(vcov, i)
    both <- delta(function(t) log(t[4] / t[1]), r, v)
    made <- list(value = r, vcov = v, difference = delta(excess, r, v), both = both)
    if (i <= length(times)) c(made, measures(identity, r, v)) else made
  })
  list(truncate = truncate, effective = sapply(0:3, function(j) sum(w[arm == j])^2 / sum(w[arm == j]^2)), read = read_off,
       vcov_fixed = crossprod(unname(known)))
}

out <- list(
  software = list(R = R.version.string, survival = as.character(packageVersion("survival")), numDeriv = as.character(packageVersion("numDeriv"))),
  data = "src/confrere/demos/breast.csv", times = times, tau = tau,
  cases = list(plain = curves(), bounds = curves(c(0.1, 0.9)), weight_10 = curves(10))
)
write(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE), "tests/oracles/interaction_survival.json")
