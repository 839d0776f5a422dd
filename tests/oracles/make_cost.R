# Reference results for cost-effectiveness with censored follow-up, computed by R from the demo table breast of the package.
#
#   Rscript tests/oracles/make_cost.R      from the top of the repository; about a minute
#
# Debian packages: r-base-core r-cran-survival r-cran-numderiv r-cran-jsonlite. What it holds stands in
# tests/oracles/README.md. Costs are made here, of columns of the table, by the formula that the test uses too. The curve of
# censoring is survfit's of a follow-up in which deaths leave half a day earlier, or the formula for public cells; means
# are Bang and Tsiatis'. Everybody's influence is the derivative of the means by that person's weight, found by
# differences, and the propensity's part that by its coefficients (numDeriv): no derivative is taken by hand. `bang` is the
# variance that Bang and Tsiatis give for the simple estimator.

suppressPackageStartupMessages({ library(survival); library(numDeriv); library(jsonlite) })
options(warn = 1, stringsAsFactors = FALSE)
breast <- read.csv("src/confrere/demos/breast.csv", na.strings = "")
breast$size <- factor(breast$size, c("<=20", "20-50", ">50"))
breast <- breast[breast$pid %% 3 == 0, ]  # one in three: a derivative for each person takes its time
tight <- list(epsilon = 1e-15, maxit = 100)
ends <- c(730, 1826, 3652)

# What was spent and gained in each part, as far as the person was followed.
parts_of <- function(data, ends) {
  starts <- c(0, ends[-length(ends)])
  lived <- sapply(seq_along(ends), function(j) pmax(pmin(data$dtime, ends[j]) - starts[j], 0))
  list(cost = lived * (2 + data$nodes / 4 + 3 * data$chemo + 0.05 * abs(data$age - 50)),
       qaly = lived / 365.25 * (0.9 - 0.004 * (data$age - 20) / 2 - 0.1 * data$recur), life = lived / 365.25)
}

# K at times t, by exact days or by cells; weights w.
kept <- function(time, event, w, t, step) {
  if (is.null(step)) {
    fit <- survfit(Surv(time - 0.5 * event, 1 - event) ~ 1, weights = w)   # deaths before censorings of their day
    return(c(1, fit$surv)[findInterval(t - 0.25, fit$time) + 1])           # censored before t
  }
  edges <- sort(unique(c(seq(0, max(ends) - 1, by = step), ends)))  # parts of time end at edges
  cell <- findInterval(pmin(time, max(ends)), edges, left.open = TRUE, all.inside = TRUE)
  inside <- time < max(ends); m <- length(edges) - 1
  sums <- function(who) as.vector(tapply(w * who, factor(cell, seq_len(m)), sum, default = 0))
  d <- sums(inside & event == 1); c <- sums(inside & event == 0)
  n <- sum(w) - c(0, cumsum(c + d))[seq_len(m)]
  h <- ifelse(c + d > 0, c / (c + d) * log((n - c - d) / n), 0)
  exp(approx(edges, c(0, cumsum(h)), t)$y)
}

# Means of one arm: cost and effect, discounted, then undiscounted.
arm_means <- function(w, data, spec) {
  e <- spec$ends; p <- parts_of(data, e); middle <- (e + c(0, e[-length(e)])) / 2 / 365.25
  values <- list(p$cost, if (isTRUE(spec$qalys)) p$qaly else p$life)
  until <- sapply(e, function(end) pmin(data$dtime, end))
  k <- matrix(kept(data$dtime, data$death, w, as.vector(until), spec$step), ncol = length(e))
  per <- sapply(seq_along(e), function(j) ifelse(data$dtime >= e[j] | data$death == 1, 1, 0) / k[, j])
  unlist(lapply(list(spec$discount, c(0, 0)), function(rates) lapply(1:2, function(what) {
    sum(w * (per * values[[what]]) %*% (1 + rates[what])^-middle) / sum(w)
  })))
}

means <- function(w, data, spec) {
  unlist(lapply(0:1, function(arm) arm_means(w[data$hormon == arm], data[data$hormon == arm, ], spec)))
}

weights_of <- function(eta, a, estimand) {
  e <- plogis(eta)
  tilt <- switch(estimand, ATE = rep(1, length(e)), ATT = e, ATO = e * (1 - e))
  ifelse(a == 1, tilt / e, tilt / (1 - e))
}

case <- function(spec) {
  data <- breast; a <- data$hormon
  fit <- if (is.null(spec$confounders)) NULL else glm(as.formula(paste("hormon ~", spec$confounders)), binomial, data, control = tight)
  w <- if (is.null(fit)) rep(1, nrow(data)) else weights_of(predict(fit), a, spec$estimand)
  at <- means(w, data, spec)
  phi <- matrix(0, nrow(data), 8)
  for (arm in 0:1) {
    rows <- which(a == arm); mine <- data[rows, ]; v <- w[rows]
    for (i in seq_along(rows)) {
      step <- 1e-3 * v[i]; up <- v; down <- v; up[i] <- v[i] + step; down[i] <- v[i] - step
      phi[rows[i], arm * 4 + 1:4] <- v[i] * (arm_means(up, mine, spec) - arm_means(down, mine, spec)) / (2 * step)
    }
  }
  if (!is.null(fit)) {
    x <- model.matrix(fit); e <- fitted(fit); scale <- apply(x, 2, function(v) sqrt(mean(v^2)))
    slope <- jacobian(function(t) means(weights_of(drop(x %*% (t / scale)), a, spec$estimand), data, spec), coef(fit) * scale)
    slope <- sweep(slope, 2, scale, "*")
    phi <- phi + ((x * (a - e)) %*% solve(crossprod(x * sqrt(e * (1 - e))))) %*% t(slope)
  }
  list(spec = spec, n = nrow(data), mean = at, vcov = crossprod(phi))
}

# Bang and Tsiatis (2000), section 3: the variance of the simple estimator of an arm.
bang <- function(arm, end) {
  data <- breast[breast$hormon == arm, ]; n <- nrow(data)
  cost <- parts_of(data, end)$cost[, 1]; time <- pmin(data$dtime, end)
  seen <- data$dtime >= end | data$death == 1
  k <- kept(data$dtime, data$death, rep(1, n), time, NULL)
  mean <- sum(seen * cost / k) / n
  first <- sum(seen * (cost - mean)^2 / k) / n
  lost <- which(!seen)
  later <- function(power, u) sum(seen * cost^power / k * (time >= u)) / sum(seen / k * (time >= u))
  second <- sum(sapply(lost, function(i) (later(2, time[i]) - later(1, time[i])^2) / kept(data$dtime, data$death, rep(1, n), time[i], NULL)^2)) / n
  list(arm = arm, end = end, mean = mean, variance = (first + second) / n)
}

confounders <- "age + meno + size + nodes"
out <- list(
  software = list(R = as.character(getRversion()), survival = as.character(packageVersion("survival"))),
  data = "breast demo, pid divisible by 3; cost per day 2 + nodes/4 + 3 chemo + 0.05 |age - 50|, quality 0.9 - 0.002 (age - 20) - 0.1 recur",
  cases = list(
    simple = case(list(ends = 3652, discount = c(0.03, 0.03))),
    partitioned = case(list(ends = ends, discount = c(0.03, 0.015), qalys = TRUE)),
    overlap = case(list(ends = ends, discount = c(0.03, 0.03), confounders = confounders, estimand = "ATO")),
    treated = case(list(ends = ends, discount = c(0.035, 0), confounders = confounders, estimand = "ATT", qalys = TRUE)),
    cells = case(list(ends = ends, discount = c(0.03, 0.03), confounders = confounders, estimand = "ATE", step = 180))
  ),
  bang = lapply(0:1, bang, end = 3652)
)
write_json(out, "tests/oracles/cost.json", digits = NA, auto_unbox = TRUE, null = "null")
