# Reference results for sequential trials of two causes that compete, with weights against loss to follow-up.
#
#   Rscript tests/oracles/make_sequential_lost.R      from the top of the repository; some minutes
#
# Debian packages: r-base-core r-cran-survival r-cran-jsonlite. As make_sequential.R, on a generated table that is stored with
# the results: people are expanded to one row per person and trial. The hazard of being lost is glm(poisson) with offset
# log(time) on these rows, split at the cells (survSplit), with a baseline for each arm; the weight of a time at risk is the
# exponential of the hazard summed until then, integrated over each split row in closed form. Risks of causes are
# integrated numerically at the estimate (Aalen-Johansen). A person's influence is the derivative by that person's case
# weight, in all of their trials at once, all models fitted again (Richardson).

suppressPackageStartupMessages({ library(survival); library(jsonlite) })
options(warn = 1, stringsAsFactors = FALSE)
tight <- list(epsilon = 1e-15, maxit = 100)
source("tests/oracles/sequential_rows.R")

values <- function(long, d, v, cut, times, tau, losing, keeps = NULL, numeric = FALSE, kept = NULL) {
  long$v <- v[long$id]; long$row <- seq_len(nrow(long)); J <- length(cut); edge <- c(0, cut); K <- max(d$cause)
  fit <- suppressWarnings(glm(a ~ 0 + factor(trial) + x + z, binomial, long, weights = v, control = tight))
  e <- fitted(fit); s <- NULL
  if (!is.null(kept)) {
    kept$v <- v[kept$id]
    s <- fitted(suppressWarnings(glm(stops ~ 0 + factor(trial) + x + z, binomial, kept, weights = v, control = tight)))
  }
  long$w <- long$v * ifelse(long$a == 1, 1 / e, 1 / (1 - e))
  # being lost: hazards of rows by cell
  rate <- matrix(0, nrow(long), J); gone <- NULL
  if (losing != "") {
    parts <- survSplit(Surv(time, lost) ~ ., long[long$time > 0, ], cut = cut[-J], episode = "cell")
    parts$piece <- paste(parts$cell, parts$a); parts$spent <- parts$time - parts$tstart
    some <- parts[parts$piece %in% parts$piece[parts$lost > 0], ]; some$piece <- factor(some$piece)
    gone <- suppressWarnings(glm(as.formula(paste("lost ~ 0 + piece +", losing, "+ offset(log(spent))")), poisson, some,
                                 weights = v, control = tight))
    alpha <- coef(gone)[paste0("piece", levels(some$piece))]; names(alpha) <- levels(some$piece)
    others <- setdiff(names(coef(gone)), paste0("piece", levels(some$piece)))
    eta <- if (length(others)) drop(as.matrix(long[others]) %*% coef(gone)[others]) else rep(0, nrow(long))
    for (j in seq_len(J)) { a <- alpha[paste(j, long$a)]; rate[, j] <- ifelse(is.na(a), 0, exp(a + eta)) }
  }
  if (is.null(keeps)) { followed <- long; followed$start <- 0 } else {
    followed <- split_periods(long, e, keeps, kept, s); followed$w <- followed$w * followed$product
  }
  followed$lost <- NULL
  split <- survSplit(Surv(start, time, event) ~ ., followed, cut = cut[-J], episode = "cell", start = "tstart")
  grown <- function(row, t) { s <- 0; for (j in seq_len(J)) s <- s + rate[row, j] * pmax(pmin(t, cut[j]) - edge[j], 0); s }
  r <- rate[cbind(split$row, split$cell)]; len <- split$time - split$tstart
  spent <- exp(grown(split$row, split$tstart)) * ifelse(r == 0, len, expm1(r * len) / ifelse(r == 0, 1, r))
  atend <- exp(grown(split$row, split$time)); cause <- d$cause[split$id] * split$event
  D <- array(0, c(K, 2, J)); Y <- matrix(0, 2, J)
  for (a in 0:1) for (j in seq_len(J)) {
    rows <- split$a == a & split$cell == j
    Y[a + 1, j] <- sum((split$w * spent)[rows])
    for (c in seq_len(K)) D[c, a + 1, j] <- sum((split$w * atend)[rows & cause == c])
  }
  h <- sweep(D, c(2, 3), Y, "/"); any <- apply(h, c(2, 3), sum)
  surv <- function(a, t) exp(-sum(any[a, ] * pmax(pmin(t, cut) - edge[1:J], 0)))
  pieces <- function(a, t, of) sum(sapply(seq_len(J), function(j) {
    low <- edge[j]; high <- min(t, cut[j])
    if (high <= low) 0 else if (numeric) of[j] * integrate(function(u) sapply(u, function(s) surv(a, s)), low, high, rel.tol = 1e-12)$value else
      of[j] * surv(a, low) * (if (any[a, j] == 0) high - low else -expm1(-any[a, j] * (high - low)) / any[a, j])
  }))
  ratio <- function(c) {
    cells <- data.frame(d = c(D[c, 1, ], D[c, 2, ]), y = c(Y[1, ], Y[2, ]), arm = rep(0:1, each = J), cell = factor(rep(1:J, 2)))
    cells <- cells[cells$cell %in% cells$cell[cells$d > 0], ]
    hr <- suppressWarnings(glm(d ~ cell + arm + offset(log(y)), quasipoisson, cells, control = list(epsilon = 1e-13, maxit = 200)))
    unname(coef(hr)["arm"])
  }
  risks <- unlist(lapply(seq_len(K), function(c) lapply(times, function(t) c(pieces(1, t, h[c, 1, ]), pieces(2, t, h[c, 2, ])))))
  list(read = c(risks, pieces(1, tau, rep(1, J)), pieces(2, tau, rep(1, J)), sapply(seq_len(K), ratio)),
       lost = unname(coef(gone)[c("x", "z")]))
}

case <- function(people, x, periods, cut, times, tau, losing, keeps = FALSE) {
  d <- cbind(people, event = as.numeric(people$cause > 0))
  long <- expand(d, x, periods, max(cut)); at <- if (keeps) periods else NULL
  kept <- if (is.null(d$stop)) NULL else keep(long, d, x, periods)
  if (keeps) long <- adhere(long, d, periods, max(cut), kept)
  end <- if (keeps) periods[length(periods)] else Inf
  reached <- long$time + periods[long$trial]
  long$lost <- as.numeric(d$cause[long$id] == 0 & reached == d$time[long$id] & reached < end & long$time < max(cut))
  whole <- values(long, d, rep(1, nrow(d)), cut, times, tau, losing, at, numeric = TRUE, kept = kept)
  f <- function(v) values(long, d, v, cut, times, tau, losing, at, kept = kept)$read
  h <- 2e-3
  phi <- sapply(unique(long$id), function(i) {
    step <- function(by) { v <- rep(1, nrow(d)); v[i] <- 1 + by; f(v) }
    (8 * (step(h) - step(-h)) - (step(2 * h) - step(-2 * h))) / (12 * h)
  })
  c(list(people = cbind(people, setNames(as.data.frame(x), paste0("x", seq_along(periods)))), periods = periods, cut = cut,
         times = times, tau = tau, n = length(unique(long$id))), whole, list(vcov = tcrossprod(phi)))
}

set.seed(12)
n <- 240; K <- 5; periods <- 60 * seq_len(K)
x <- matrix(0, n, K); x[, 1] <- round(pmin(pmax(rnorm(n), -2), 2), 3)
for (k in 2:K) x[, k] <- round(0.7 * x[, k - 1] + rnorm(n, 0, 0.5), 3)
z <- rbinom(n, 1, 0.4); start <- rep(NA, n)
for (k in 1:K) {
  s <- is.na(start) & rbinom(n, 1, plogis(-1.7 + 0.6 * x[, k] - 0.4 * z)) == 1
  start[s] <- 60 * (k - 1) + ceiling(60 * runif(sum(s)))
}
t1 <- rexp(n, exp(-6.5 + 0.5 * x[, 2] + 0.3 * z)); t2 <- rexp(n, exp(-6.8 - 0.3 * x[, 1])); gone <- rexp(n, exp(-6.4 + 0.6 * x[, 1]))
t <- pmin(t1, t2, gone)
d <- data.frame(z = z, time = ceiling(t), cause = ifelse(t == gone, 0, ifelse(t == t1, 1, 2)), start = start)
d$start[!is.na(d$start) & d$start > d$time] <- NA
out <- list(software = list(R = as.character(getRversion()), survival = as.character(packageVersion("survival"))),
            data = "a generated table, see make_sequential_lost.R",
            assigned = case(d, x[, 1:2], periods[1:2], seq(60, 360, 60), c(180, 360), 300, "x + z"),
            kept = case(d, x, periods, seq(60, 240, 60), c(120, 240), 240, "x", keeps = TRUE),
            kept_between = case(d, x, periods, seq(80, 240, 80), c(160, 240), 240, "z", keeps = TRUE))
n <- 400; K <- 4; periods <- 60 * seq_len(K)
x <- matrix(0, n, K); x[, 1] <- round(pmin(pmax(rnorm(n), -2), 2), 3)
for (k in 2:K) x[, k] <- round(0.7 * x[, k - 1] + rnorm(n, 0, 0.5), 3)
z <- rbinom(n, 1, 0.4); start <- stop <- rep(NA, n)
for (k in 1:K) {
  on <- !is.na(start) & is.na(stop)
  s <- is.na(start) & rbinom(n, 1, plogis(-1.1 + 0.6 * x[, k] - 0.4 * z)) == 1
  start[s] <- 60 * (k - 1) + ceiling(60 * runif(sum(s)))
  s <- on & rbinom(n, 1, plogis(-1 - 0.6 * x[, k])) == 1
  stop[s] <- 60 * (k - 1) + ceiling(60 * runif(sum(s)))
}
t1 <- rexp(n, exp(-6.6 + 0.5 * x[, 2] + 0.3 * z)); t2 <- rexp(n, exp(-6.9 - 0.3 * x[, 1])); gone <- rexp(n, exp(-6.6 + 0.6 * x[, 1]))
t <- pmin(t1, t2, gone)
d <- data.frame(z = z, time = ceiling(t), cause = ifelse(t == gone, 0, ifelse(t == t1, 1, 2)), start = start, stop = stop)
d$start[!is.na(d$start) & d$start > d$time] <- NA
d$stop[is.na(d$start) | (!is.na(d$stop) & d$stop > d$time)] <- NA
out$stopping <- case(d, x, periods, seq(60, 180, 60), c(120, 180), 180, "x", keeps = TRUE)
write(toJSON(out, digits = NA, auto_unbox = TRUE, dataframe = "columns", na = "null"), "tests/oracles/sequential_lost.json")
