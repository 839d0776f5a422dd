# Reference results for strategies with a grace period, of two causes that compete, with weights against loss to follow-up.
#
#   Rscript tests/oracles/make_strategies_lost.R      from the top of the repository; a minute or two
#
# Debian packages: r-base-core r-cran-survival r-cran-jsonlite. A generated table, stored with the results: two causes of the
# event, a treatment that some start, people lost to follow-up by x. Clones are rows of survSplit(); the models of starting
# and of being lost are glm(poisson) with offset log(time) on them (the latter with a baseline for everybody in the grace
# period, and one for those who started and one for the others after it), that of having started glm(binomial). Weighted
# times at risk are integrated numerically at the estimate, the risks of causes too (Aalen-Johansen); the hazard ratio of a
# cause is that of glm(poisson) on the cells. A person's influence is the derivative by that person's case weight, models
# fitted again (Richardson).

suppressPackageStartupMessages({ library(survival); library(jsonlite) })
options(warn = 1, stringsAsFactors = FALSE)
tight <- list(epsilon = 1e-15, maxit = 100)

values <- function(d, v, m, cut, times, tau, losing, numeric = FALSE) {
  d$v <- v; d$id <- seq_len(nrow(d)); until <- max(cut); J <- length(cut); edge <- c(0, cut); K <- max(d$cause)
  d$lost <- as.numeric(d$cause == 0 & d$time < until)
  d$cause <- d$cause * (d$time <= until); d$time <- pmin(d$time, until)
  d$early <- !is.na(d$start) & d$start <= m & d$start <= d$time
  d$s <- ifelse(d$early, d$start, Inf)
  poisson_on <- function(w, cuts) {   # rows split at the cells
    long <- survSplit(Surv(risk, status) ~ ., w[w$risk > 0, ], cut = cuts, episode = "cell")
    long$spent <- long$risk - long$tstart
    long
  }
  long <- poisson_on(data.frame(d[c("id", "x", "z", "v")], risk = pmin(d$time, d$s, m), status = as.numeric(d$early)),
                     cut[cut < m])
  fit <- suppressWarnings(glm(status ~ 0 + factor(cell) + x + z + offset(log(spent)), poisson, long, weights = v, control = tight))
  k <- sum(cut <= m)
  begin <- matrix(0, nrow(d), J)
  begin[, 1:k] <- exp(outer(drop(as.matrix(d[c("x", "z")]) %*% coef(fit)[c("x", "z")]), coef(fit)[1:k], "+"))
  lost <- matrix(0, nrow(d), J); gone <- NULL
  if (losing != "") {
    long <- poisson_on(data.frame(d[c("id", "x", "z", "v", "early")], risk = d$time, status = d$lost), cut[-J])
    long$piece <- ifelse(long$cell <= k, paste0(long$cell), paste(long$cell, long$early))
    some <- long[long$piece %in% long$piece[long$status > 0], ]   # where nobody is lost the rate is 0
    some$piece <- factor(some$piece)
    gone <- suppressWarnings(glm(as.formula(paste("status ~ 0 + piece +", losing, "+ offset(log(spent))")), poisson, some,
                                 weights = v, control = tight))
    alpha <- coef(gone)[paste0("piece", levels(some$piece))]; names(alpha) <- levels(some$piece)
    others <- setdiff(names(coef(gone)), paste0("piece", levels(some$piece)))
    eta <- if (length(others)) drop(as.matrix(d[others]) %*% coef(gone)[others]) else rep(0, nrow(d))
    for (j in seq_len(J)) {
      a <- alpha[if (j <= k) rep(paste0(j), nrow(d)) else paste(j, d$early)]
      lost[, j] <- ifelse(is.na(a), 0, exp(a + eta))
    }
  }
  sub <- d[d$time > m, ]
  end <- suppressWarnings(glm(early ~ x + z, binomial, sub, weights = v, control = tight))
  late <- 1 / predict(end, d, type = "response")
  # the logarithm of a weight at a time, of rates by cell
  grown <- function(rate, t) sum(rate * pmax(pmin(t, cut) - edge[1:J], 0))
  D <- array(0, c(K, 2, J)); Y <- matrix(0, 2, J)
  area <- function(rate, low, high, j) if (numeric)
    integrate(function(u) sapply(u, function(t) exp(grown(rate, t))), low, high, rel.tol = 1e-13)$value else
    exp(grown(rate, low)) * (if (rate[j] == 0) high - low else expm1(rate[j] * (high - low)) / rate[j])
  for (i in seq_len(nrow(d))) if (d$v[i] != 0) {
    waits <- begin[i, ] + lost[i, ]; exit <- min(d$time[i], d$s[i])
    for (j in seq_len(J)) {
      low <- edge[j]; high <- min(exit, edge[j + 1])
      if (high > low) Y[1, j] <- Y[1, j] + d$v[i] * area(waits, low, high, j)
      high <- min(d$time[i], edge[j + 1])
      stays <- if (low < m) 1 else if (d$early[i]) late[i] else 0
      if (high > low && stays > 0) Y[2, j] <- Y[2, j] + d$v[i] * stays * area(lost[i, ], low, high, j)
    }
    if (d$cause[i] > 0) {
      j <- max(findInterval(d$time[i], edge, left.open = TRUE), 1); c <- d$cause[i]
      if (!d$early[i]) D[c, 1, j] <- D[c, 1, j] + d$v[i] * exp(grown(waits, d$time[i]))
      stays <- if (d$time[i] <= m) 1 else if (d$early[i]) late[i] else 0
      D[c, 2, j] <- D[c, 2, j] + d$v[i] * stays * exp(grown(lost[i, ], d$time[i]))
    }
  }
  h <- sweep(D, c(2, 3), Y, "/"); any <- apply(h, c(2, 3), sum)
  surv <- function(a, t) exp(-grown(any[a, ], t))
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
       starting = unname(coef(fit)[c("x", "z")]), started = unname(coef(end)), lost = unname(coef(gone)[c("x", "z")]))
}

case <- function(d, m, cut, times, tau, losing) {
  whole <- values(d, rep(1, nrow(d)), m, cut, times, tau, losing, numeric = TRUE)
  f <- function(v) values(d, v, m, cut, times, tau, losing)$read
  h <- 2e-3
  phi <- sapply(seq_len(nrow(d)), function(i) {
    step <- function(by) { v <- rep(1, nrow(d)); v[i] <- 1 + by; f(v) }
    (8 * (step(h) - step(-h)) - (step(2 * h) - step(-2 * h))) / (12 * h)
  })
  c(list(people = d, cut = cut, times = times, tau = tau), whole, list(vcov = tcrossprod(phi)))
}

set.seed(3)
n <- 260
x <- round(pmin(pmax(rnorm(n), -2), 2), 3); z <- rbinom(n, 1, 0.4)
start <- ceiling(rexp(n, exp(0.4 * x - 0.3 * z) / 300))
t1 <- rexp(n, exp(-6.8 + 0.5 * x + 0.3 * z)); t2 <- rexp(n, exp(-7.2 - 0.3 * x))
gone <- pmin(rexp(n, exp(-7 + 0.7 * x)), runif(n, 500, 1500))
t <- pmin(t1, t2, gone)
d <- data.frame(x = x, z = z, time = ceiling(t), cause = ifelse(t == gone, 0, ifelse(t == t1, 1, 2)), start = start)
d$start <- ifelse(d$start <= d$time, d$start, NA)
cut <- seq(90, 720, 90)
out <- list(software = list(R = as.character(getRversion()), survival = as.character(packageVersion("survival"))),
            data = "a generated table, see make_strategies_lost.R",
            both = case(d, 180, cut, c(360, 720), 630, "x + z"), causes = case(d, 180, cut, c(360, 720), 720, ""))
one <- d; one$cause <- as.numeric(d$cause == 1)   # the other cause is a loss
out$lost <- case(one, 180, cut, c(360, 720), 720, "x + z")
heart <- jasa[jasa$futime >= 0, ]
heart <- data.frame(x = round(heart$age, 4), z = heart$surgery, time = heart$futime, cause = heart$fustat, start = heart$wait.time)
heart$start[!is.na(heart$start) & heart$start == 0] <- 0.5   # rows of no time have no place in survSplit()
out$heart <- case(heart, 45, c(seq(15, 225, 15), seq(255, 360, 15), 365), c(180, 365), 365, "x")
write(toJSON(out, digits = NA, auto_unbox = TRUE, dataframe = "columns", na = "null"), "tests/oracles/strategies_lost.json")
