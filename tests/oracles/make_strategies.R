# Reference results for strategies with a grace period, computed by R from real records of its own, and a bootstrap.
#
#   Rscript tests/oracles/make_strategies.R      from the top of the repository; some minutes
#
# Debian packages: r-base-core r-cran-survival r-cran-jsonlite. People are those of survival's jasa (Stanford heart
# transplants, the example from which immortal time is known): transplant within 45 days of acceptance, or not. Clones are
# rows of survSplit(); the model of starting is glm(poisson) with offset log(time) on them, that of having started
# glm(binomial); the weights of time at risk are integrated numerically; the hazard ratio is that of glm(poisson) on the
# cells. A person's influence is the derivative by that person's case weight, models fitted again (Richardson). The
# bootstrap draws people, not clones, of a generated table that is stored with it.

suppressPackageStartupMessages({ library(survival); library(jsonlite) })
options(warn = 1, stringsAsFactors = FALSE)
tight <- list(epsilon = 1e-15, maxit = 100)

# Values read off the arms, with case weights v. `cut`: edges of the cells; m: grace; times; tau.
values <- function(d, v, m, cut, times, tau, numeric = FALSE) {
  d$v <- v; d$id <- seq_len(nrow(d)); until <- max(cut)
  d$event <- d$event * (d$time <= until); d$time <- pmin(d$time, until)
  d$early <- !is.na(d$start) & d$start <= m & d$start <= d$time
  d$s <- ifelse(d$early, d$start, Inf)
  # the model of starting
  w <- data.frame(d[c("id", "x", "z", "v")], risk = pmin(d$time, d$s, m), status = as.numeric(d$early))
  long <- survSplit(Surv(risk, status) ~ ., w[w$risk > 0, ], cut = cut[cut < m], episode = "cell")
  long$spent <- long$risk - long$tstart
  at0 <- w[w$risk == 0 & w$status == 1, ]   # starts at time zero: no time, one start
  if (nrow(at0)) long <- rbind(long, data.frame(id = at0$id, x = at0$x, z = at0$z, v = at0$v, tstart = 0, risk = 0,
                                                status = 1, cell = 1, spent = 1e-12))
  fit <- suppressWarnings(glm(status ~ factor(cell) + x + z + offset(log(spent)), poisson, long, weights = v, control = tight))
  beta <- coef(fit); k <- sum(cut <= m)
  alpha <- beta[1] + c(0, beta[seq_len(k - 1) + 1]); b <- beta[c("x", "z")]
  rate <- exp(outer(drop(as.matrix(d[c("x", "z")]) %*% b), alpha, "+"))   # person by cell
  left <- c(0, cut[cut < m]); right <- cut[cut <= m]
  lambda <- function(i, t) colSums(rate[i, ] * pmax(outer(right, t, pmin) - left, 0))
  # having started
  sub <- d[d$time > m, ]
  end <- suppressWarnings(glm(early ~ x + z, binomial, sub, weights = v, control = tight))
  late <- 1 / predict(end, d, type = "response")
  # weighted events and times of both arms
  J <- length(cut); D <- Y <- matrix(0, 2, J); edge <- c(0, cut)
  for (i in seq_len(nrow(d))) if (d$v[i] != 0) {
    exit <- min(d$time[i], d$s[i])
    for (j in seq_len(J)) {
      low <- edge[j]; high <- min(exit, edge[j + 1])
      if (high > low) Y[1, j] <- Y[1, j] + d$v[i] * (if (low >= m) exp(lambda(i, m)) * (high - low) else if (numeric)
        integrate(function(u) exp(lambda(i, u)), low, high, rel.tol = 1e-13)$value else
        exp(lambda(i, low)) * expm1(rate[i, j] * (high - low)) / rate[i, j])
      high <- min(d$time[i], edge[j + 1])
      stays <- if (low < m) 1 else if (d$early[i]) late[i] else 0
      if (high > low) Y[2, j] <- Y[2, j] + d$v[i] * stays * (high - low)
    }
    if (d$event[i] == 1) {
      j <- findInterval(d$time[i], edge, left.open = TRUE); j <- max(j, 1)
      if (!d$early[i]) D[1, j] <- D[1, j] + d$v[i] * exp(lambda(i, min(d$time[i], m)))
      if (d$time[i] <= m) D[2, j] <- D[2, j] + d$v[i] else if (d$early[i]) D[2, j] <- D[2, j] + d$v[i] * late[i]
    }
  }
  h <- D / Y
  surv <- function(a, t) exp(-sum(h[a, ] * pmax(pmin(t, cut) - edge[1:J], 0)))
  area <- function(a) sum(sapply(seq_len(J), function(j) {
    width <- max(min(tau, cut[j]) - edge[j], 0)
    s <- exp(-sum((h[a, ] * diff(edge))[seq_len(j - 1)]))
    if (h[a, j] == 0) s * width else s * -expm1(-h[a, j] * width) / h[a, j]
  }))
  cells <- data.frame(d = c(D[1, ], D[2, ]), y = c(Y[1, ], Y[2, ]), arm = rep(0:1, each = J), cell = factor(rep(1:J, 2)))
  cells <- cells[cells$cell %in% cells$cell[cells$d > 0], ]
  hr <- suppressWarnings(glm(d ~ cell + arm + offset(log(y)), quasipoisson, cells, control = list(epsilon = 1e-13, maxit = 200)))
  list(read = c(as.vector(rbind(sapply(times, function(t) 1 - surv(1, t)), sapply(times, function(t) 1 - surv(2, t)))),
                area(1), area(2), unname(coef(hr)["arm"])), D = D, Y = Y, starting = unname(beta), started = unname(coef(end)))
}

heart <- jasa[jasa$futime >= 0, ]
heart <- data.frame(x = round(heart$age, 4), z = heart$surgery, time = heart$futime, event = heart$fustat, start = heart$wait.time)
cut <- c(seq(15, 225, 15), seq(255, 360, 15), 365); times <- c(180, 365)
whole <- values(heart, rep(1, nrow(heart)), 45, cut, times, 365, numeric = TRUE)
f <- function(v) values(heart, v, 45, cut, times, 365)$read
h <- 2e-3
phi <- sapply(seq_len(nrow(heart)), function(i) {
  step <- function(by) { v <- rep(1, nrow(heart)); v[i] <- 1 + by; f(v) }
  (8 * (step(h) - step(-h)) - (step(2 * h) - step(-2 * h))) / (12 * h)
})
out <- list(software = list(R = as.character(getRversion()), survival = as.character(packageVersion("survival"))),
            data = "survival::jasa, see make_strategies.R", people = heart, cut = cut, times = times,
            read = whole$read, events = whole$D, risk = whole$Y, starting = whole$starting, started = whole$started,
            vcov = tcrossprod(phi))

set.seed(7)
n <- 700
x <- round(pmin(pmax(rnorm(n), -2), 2), 3); z <- rbinom(n, 1, 0.4)
start <- ceiling(rexp(n, exp(0.4 * x - 0.3 * z) / 350)); base <- exp(-6.6 + 0.5 * x + 0.3 * z)
e <- rexp(n); t <- ifelse(e < base * start, e / base, start + (e - base * start) / (base * 0.6))
cens <- runif(n, 300, 1500)
drawn <- data.frame(x = x, z = z, time = ceiling(pmin(t, cens)), event = as.numeric(t <= cens))
drawn$start <- ifelse(start <= drawn$time, start, NA)
wide <- seq(90, 720, 90)
replicates <- t(sapply(seq_len(1000), function(r) {
  v <- tabulate(sample.int(n, n, TRUE), n)
  values(drawn, v, 180, wide, c(360, 720), 720)$read
}))
out$bootstrap <- list(people = drawn, cut = wide, replicates = nrow(replicates), std_error = apply(replicates, 2, sd),
                      read = values(drawn, rep(1, n), 180, wide, c(360, 720), 720)$read)
write(toJSON(out, digits = NA, auto_unbox = TRUE, dataframe = "columns", na = "null"), "tests/oracles/strategies.json")
