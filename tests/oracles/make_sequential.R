# Reference results for sequential trials, computed by R from real records of its own and from a generated table.
#
#   Rscript tests/oracles/make_sequential.R      from the top of the repository; a minute
#
# Debian packages: r-base-core r-cran-survival r-cran-jsonlite. The records are survival's jasa (Stanford heart
# transplants): transplant within each month of acceptance, or not. People are expanded to one row per person and trial;
# the propensity is glm(binomial) on these with a factor of the trial; weighted events and times come from survSplit(), the
# hazard ratio from glm(quasipoisson) on the cells, and from coxph(cluster = person) on the rows. A person's influence is
# the derivative by that person's case weight, in all of their trials at once, models fitted again (Richardson). The
# generated table has a confounder that is measured anew before every trial, and estimates the effect in the treated.
#
# Per protocol (`keeps`): the rows of the untreated end with the period in which they start, or in which it is not known
# any more what the next trial needs, all rows with the last period; they are split (survSplit) where further periods end,
# and from there on weighed by 1/(1 - e) of that trial too, as TrialEmulation does on data of discrete visits. Where people
# have a time `stop`, the rows of the treated end with the period in which they stop (who stops in that in which they start:
# with the next), and weigh 1/(1 - s) more behind every further period, s the chance of stopping in it by a glm(binomial) of
# its own, of who is treated before the period and followed beyond it.

suppressPackageStartupMessages({ library(survival); library(jsonlite) })
options(warn = 1, stringsAsFactors = FALSE)
tight <- list(epsilon = 1e-15, maxit = 100)
source("tests/oracles/sequential_rows.R")

values <- function(long, v, cut, times, tau, att = FALSE, keeps = NULL, kept = NULL) {
  long$v <- v[long$id]
  fit <- suppressWarnings(glm(a ~ 0 + factor(trial) + x + z, binomial, long, weights = v, control = tight))
  e <- fitted(fit); stopping <- s <- NULL
  if (!is.null(kept)) {
    kept$v <- v[kept$id]
    stopping <- suppressWarnings(glm(stops ~ 0 + factor(trial) + x + z, binomial, kept, weights = v, control = tight))
    s <- fitted(stopping)
  }
  long$w <- long$v * if (att) ifelse(long$a == 1, 1, e / (1 - e)) else ifelse(long$a == 1, 1 / e, 1 / (1 - e))
  J <- length(cut); edge <- c(0, cut); D <- Y <- matrix(0, 2, J)
  if (is.null(keeps)) { followed <- long; followed$start <- 0 } else {
    followed <- split_periods(long, e, keeps, kept, s); followed$w <- followed$w * followed$product
  }
  split <- survSplit(Surv(start, time, event) ~ ., followed, cut = cut[-J], episode = "cell", start = "tstart")
  for (a in 0:1) for (j in seq_len(J)) {
    rows <- split$a == a & split$cell == j
    D[a + 1, j] <- sum((split$w * split$event)[rows]); Y[a + 1, j] <- sum((split$w * (split$time - split$tstart))[rows])
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
                area(1), area(2), unname(coef(hr)["arm"])), D = D, Y = Y, propensity = unname(coef(fit)),
       stopping = unname(coef(stopping)), followed = followed)
}

case <- function(d, x, periods, cut, times, tau, att = FALSE, keeps = FALSE) {
  long <- expand(d, x, periods, max(cut)); at <- if (keeps) periods else NULL
  kept <- if (is.null(d$stop)) NULL else keep(long, d, x, periods)
  if (keeps) long <- adhere(long, d, periods, max(cut), kept)
  whole <- values(long, rep(1, nrow(d)), cut, times, tau, att, at, kept)
  cox <- coxph(Surv(start, time, event) ~ a, whole$followed, weights = w, cluster = id, ties = "breslow", robust = TRUE)
  f <- function(v) values(long, v, cut, times, tau, att, at, kept)$read
  h <- 2e-3
  phi <- sapply(unique(long$id), function(i) {
    step <- function(by) { v <- rep(1, nrow(d)); v[i] <- 1 + by; f(v) }
    (8 * (step(h) - step(-h)) - (step(2 * h) - step(-2 * h))) / (12 * h)
  })
  list(people = cbind(d, setNames(as.data.frame(x), paste0("x", seq_along(periods)))), periods = periods, cut = cut,
       times = times, n = length(unique(long$id)), rows = as.vector(table(long$trial)),
       treated = as.vector(tapply(long$a, long$trial, sum)), read = whole$read, events = whole$D, risk = whole$Y,
       propensity = whole$propensity, stopping = whole$stopping, vcov = tcrossprod(phi), cox = c(unname(coef(cox)), sqrt(cox$var[1, 1])))
}

heart <- jasa[jasa$futime >= 0, ]
d <- data.frame(z = heart$surgery, time = heart$futime, event = heart$fustat, start = heart$wait.time)
age <- round(heart$age, 4); periods <- c(20, 40, 60)
out <- list(software = list(R = as.character(getRversion()), survival = as.character(packageVersion("survival"))),
            data = "survival::jasa and a generated table, see make_sequential.R",
            heart = case(d, cbind(age, age, age), periods, seq(30, 360, 30), c(180, 360), 360))

set.seed(11)
n <- 400
x <- matrix(0, n, 3); x[, 1] <- round(pmin(pmax(rnorm(n), -2), 2), 3)
for (k in 2:3) x[, k] <- round(0.7 * x[, k - 1] + rnorm(n, 0, 0.5), 3)
z <- rbinom(n, 1, 0.4); start <- rep(NA, n)
for (k in 1:3) {
  s <- is.na(start) & rbinom(n, 1, plogis(-1.5 + 0.6 * x[, k] - 0.4 * z)) == 1
  start[s] <- 60 * (k - 1) + ceiling(60 * runif(sum(s)))
}
t <- ceiling(rexp(n, exp(-6.4 + 0.5 * x[, 2] + 0.3 * z - 0.3 * !is.na(start)))); cens <- ceiling(runif(n, 200, 900))
d <- data.frame(z = z, time = pmin(t, cens), event = as.numeric(t <= cens), start = start)
d$start[!is.na(d$start) & d$start > d$time] <- NA
x[cbind(sample(n, 20), 2)] <- NA   # not measured: in no trial from the second on
out$updated <- case(d, x, c(60, 120, 180), seq(60, 360, 60), c(180, 360), 300, att = TRUE)
few <- d; six <- seq(60, 360, 60); u <- matrix(0, n, 6); u[, 1:3] <- x
for (k in 4:6) u[, k] <- round(0.7 * u[, k - 1] + rnorm(n, 0, 0.5), 3)
for (k in 4:6) {
  s <- is.na(few$start) & !is.na(u[, 2]) & rbinom(n, 1, plogis(-1.5 + 0.6 * u[, k] - 0.4 * z)) == 1
  few$start[s] <- 60 * (k - 1) + ceiling(60 * runif(sum(s)))
}
few$start[!is.na(few$start) & few$start > few$time] <- NA
out$adhering <- case(few, u, six, seq(60, 240, 60), c(120, 240), 180, keeps = TRUE)
out$adhering_treated <- case(few, u, six, seq(60, 240, 60), c(120, 240), 240, att = TRUE, keeps = TRUE)
off <- few; off$stop <- NA
for (k in 1:6) {
  on <- !is.na(off$start) & off$start <= six[k] & is.na(off$stop) & off$time > six[k]
  s <- on & !is.na(u[, k]) & rbinom(n, 1, plogis(-1.2 - 0.5 * u[, k] + 0.4 * z)) == 1
  off$stop[s] <- pmax(off$start[s], six[k] - ceiling(60 * runif(sum(s))))
}
off$stop[!is.na(off$stop) & off$stop > off$time] <- NA
out$stopping <- case(off, u, six, seq(60, 240, 60), c(120, 240), 180, keeps = TRUE)
out$stopping_treated <- case(off, u, six, seq(60, 240, 60), c(120, 240), 240, att = TRUE, keeps = TRUE)
write(toJSON(out, digits = NA, auto_unbox = TRUE, dataframe = "columns", na = "null"), "tests/oracles/sequential.json")
