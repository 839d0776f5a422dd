# Reference results for standardised, augmented and censoring-weighted effects on times to events, computed by R.
#
#   Rscript tests/oracles/make_effects_hazards.R      from the top of the repository; a few minutes
#
# Debian packages: r-base-core r-cran-survival r-cran-numderiv r-cran-jsonlite. What it holds stands in
# tests/oracles/README.md. Hazards are those of glm(poisson) with an offset of log time on survSplit people, propensities
# those of glm(binomial). Curves, weights and martingales are written out from the fitted hazards; no derivative is taken
# by hand: numDeriv finds those by all coefficients, by log rates and by sums of weights, and people's scores are those of
# the two glms.

suppressPackageStartupMessages({ library(survival); library(numDeriv); library(jsonlite) })
options(warn = 1, stringsAsFactors = FALSE)
breast <- read.csv("src/confrere/demos/breast.csv", na.strings = "")
breast$size <- factor(breast$size, c("<=20", "20-50", ">50"))
breast$a <- breast$hormon; breast$time <- breast$rtime; breast$event <- breast$recur; breast$person <- seq_len(nrow(breast))
edges <- seq(365, 2555, 365); width <- diff(c(0, edges)); times <- c(730, 1825); tau <- 1825; M <- length(edges)
tight <- glm.control(epsilon = 1e-14, maxit = 100)
terms <- ~ age + meno + size + grade + nodes

# A model of hazards: cells (the last one open) by arm or not, and terms. `scores` and `moves` are by log rates and coefficients.
hazards <- function(data, event, right, by_arm) {
  data$now <- event
  long <- survSplit(Surv(time, now) ~ ., data, cut = edges, episode = "cell", start = "from")
  long$stratum <- factor(if (by_arm) paste(long$a, long$cell) else long$cell,
                         if (by_arm) c(outer(seq_len(M + 1), 0:1, function(j, a) paste(a, j))) else seq_len(M + 1))
  design <- function(d) { x <- model.matrix(right, d)[, -1, drop = FALSE]; x }
  x <- cbind(model.matrix(~ 0 + stratum, long), design(long))
  gone <- long$time - long$from
  fit <- glm.fit(x, long$now, offset = log(gone), family = poisson(), control = tight)
  mu <- fit$fitted.values
  scores <- rowsum(x * (long$now - mu), long$person)
  list(theta = fit$coefficients, moves = scores %*% solve(crossprod(x * sqrt(mu))), by_arm = by_arm, x = design,
       strata = if (by_arm) 2 else 1)
}

# Hazards (people, closed cells) of people with terms x, as if in an arm.
at <- function(model, theta, x, arm) {
  rates <- matrix(exp(theta[seq_len(model$strata * (M + 1))]), M + 1)
  s <- if (model$by_arm) arm + 1 else rep(1, length(arm))
  r <- if (ncol(x)) exp(drop(x %*% theta[-seq_len(model$strata * (M + 1))])) else rep(1, nrow(x))
  r * t(rates[seq_len(M), s, drop = FALSE])
}

before <- function(v) t(apply(v, 1, cumsum)) - v
stay <- outer(breast$time, seq_len(M), function(t, j) pmin(pmax(t - c(0, edges)[j], 0), width[j]))
cell <- findInterval(breast$time, c(0, edges), left.open = TRUE)
event_at <- outer(cell, seq_len(M), "==") * (breast$event == 1)
wide <- function(v) v * matrix(width, nrow(v), M, byrow = TRUE)

weights_of <- function(alpha, z, a, estimand) {
  e <- plogis(drop(z %*% alpha))
  tilt <- switch(estimand, ATE = rep(1, length(e)), ATT = a, ATO = e * (1 - e))
  stands <- if (estimand == "ATT") e else tilt
  list(w = stands / ifelse(a == 1, e, 1 - e), tilt = tilt)
}

read_off <- function(S) {  # curves (2, M) -> risks by time and arm, then means by arm
  area <- function(s) {
    s <- c(1, s[edges <= tau]); fall <- log(s[-length(s)] / s[-1])
    sum(ifelse(fall > 1e-9, (s[-length(s)] - s[-1]) / fall, s[-1]) * width[seq_along(fall)])
  }
  c(1 - S[, match(times, edges)], apply(S, 1, area))
}

propensity <- function(data) {
  fit <- glm(update(terms, a ~ .), binomial, data, control = tight)
  z <- model.matrix(fit); e <- fitted(fit)
  list(z = z, alpha = coef(fit), moves = (z * (data$a - e)) %*% solve(crossprod(z * sqrt(e * (1 - e)))))
}


standardised <- function(spec, data) {
  p <- propensity(data); q <- length(p$alpha)
  right <- if (is.null(spec$outcome_model)) terms else as.formula(spec$outcome_model)
  o <- hazards(data, data$event, right, is.null(spec$outcome_model))
  augmented <- spec$estimator == "aipw"
  lost <- if (is.null(spec$censoring)) terms else as.formula(spec$censoring)
  m <- if (augmented) hazards(data, 1 - data$event, lost, TRUE)
  xs <- lapply(0:1, function(arm) { d <- data; d$a <- arm; d$hormon <- arm; o$x(d) })
  xm <- if (augmented) m$x(data)
  no <- length(o$theta)
  parts <- function(theta) {
    alpha <- theta[seq_len(q)]; to <- theta[q + seq_len(no)]; tm <- theta[-seq_len(q + no)]
    w <- weights_of(alpha, p$z, data$a, spec$estimand)
    number <- lapply(0:1, function(arm) {
      A <- at(o, to, xs[[arm + 1]], rep(arm, nrow(data)))
      S <- exp(-t(apply(wide(A), 1, cumsum)))
      if (!augmented) return(w$tilt * S)
      B <- at(m, tm, xm, rep(arm, nrow(data))); C <- A + B
      start <- exp(before(wide(C)))
      X <- t(apply(event_at * start * exp(C * stay) - A * start * (exp(C * stay) - 1) / C, 1, cumsum))
      S * (w$tilt - w$w * (data$a == arm) * X)
    })
    list(number = number, tilt = w$tilt)
  }
  curve <- function(theta) { g <- parts(theta); t(sapply(g$number, colSums)) / sum(g$tilt) }
  theta <- c(p$alpha, o$theta, if (augmented) m$theta)
  S <- curve(theta); g <- parts(theta)
  along <- jacobian(function(s) read_off(matrix(s, 2)), c(S))
  own <- do.call(cbind, lapply(seq_len(M), function(j) sapply(1:2, function(arm) g$number[[arm]][, j] - g$tilt * S[arm, j]))) / sum(g$tilt)
  slope <- jacobian(function(t) read_off(curve(t)), theta)
  moves <- cbind(p$moves, o$moves, if (augmented) m$moves)
  if (!augmented) slope[, seq_len(q)] <- 0
  phi <- own %*% t(along) + moves %*% t(slope)
  list(spec = spec, n = nrow(data), values = read_off(S), vcov = crossprod(unname(phi)))
}

staying <- function(spec, data) {
  p <- propensity(data); q <- length(p$alpha)
  m <- hazards(data, 1 - data$event, as.formula(spec$censoring), TRUE); xm <- m$x(data)
  grown <- function(tm) {
    B <- at(m, tm, xm, data$a); start <- exp(before(wide(B)))
    list(time = start * (exp(B * stay) - 1) / B, event = event_at * start * exp(B * stay))
  }
  groups <- if (is.null(spec$shared)) data$hospital else rep("all", nrow(data))
  sums <- function(w, g) c(sapply(split(seq_len(nrow(data)), groups), function(rows) {
    sapply(0:1, function(arm) {
      mine <- rows[data$a[rows] == arm]
      c(colSums(w[mine] * g$event[mine, , drop = FALSE]), colSums(w[mine] * g$time[mine, , drop = FALSE]))
    })
  }))
  values <- function(s) {
    s <- array(s, c(M, 2, 2, length(s) / (4 * M)))  # cell, event or time, arm, group
    all <- apply(s, 1:3, sum)
    S <- t(sapply(1:2, function(arm) exp(-cumsum(all[, 1, arm] / all[, 2, arm] * width))))
    score <- function(b) {
      D <- s[, 1, , , drop = FALSE]; R <- s[, 2, , , drop = FALSE]
      D0 <- D[, 1, 1, ]; D1 <- D[, 1, 2, ]; R0 <- R[, 1, 1, ]; R1 <- R[, 1, 2, ] * exp(b)
      share <- ifelse(R0 + R1 > 0, R1 / (R0 + R1), 0)
      sum(D1 - (D0 + D1) * share)
    }
    b <- uniroot(score, c(-5, 5), tol = 1e-15)$root
    c(read_off(S), b)
  }
  w <- weights_of(p$alpha, p$z, data$a, spec$estimand)$w; g <- grown(m$theta)
  s <- sums(w, g); scale <- pmax(s, 1)
  by <- jacobian(function(u) values(s + u * scale), rep(0, length(s))) %*% diag(1 / scale)
  order <- array(seq_along(s), c(M, 2, 2, length(s) / (4 * M))); at_group <- match(groups, sort(unique(groups)))
  own <- t(sapply(seq_len(nrow(data)), function(i) {
    places <- order[, , data$a[i] + 1, at_group[i]]
    w[i] * (by[, places[, 1]] %*% g$event[i, ] + by[, places[, 2]] %*% g$time[i, ])
  }))
  theta <- c(p$alpha, m$theta)
  slope <- by %*% jacobian(function(t) sums(weights_of(t[seq_len(q)], p$z, data$a, spec$estimand)$w, grown(t[-seq_len(q)])), theta)
  phi <- own + cbind(p$moves, m$moves) %*% t(slope)
  list(spec = spec, n = nrow(data), values = values(s), vcov = crossprod(unname(phi)))
}

spec <- function(...) list(...)
plain <- list(
  gformula = spec(estimator = "gformula", estimand = "ATE"), gformula_att = spec(estimator = "gformula", estimand = "ATT"),
  gformula_model = spec(estimator = "gformula", estimand = "ATE", outcome_model = "~ hormon * age + nodes"),
  aipw = spec(estimator = "aipw", estimand = "ATE"), aipw_att = spec(estimator = "aipw", estimand = "ATT", censoring = "~ age"),
  aipw_ato = spec(estimator = "aipw", estimand = "ATO", outcome_model = "~ hormon * age + nodes", censoring = "~ 1")
)
weighted <- list(
  ate = spec(estimator = "iptw", estimand = "ATE", censoring = "~ age + nodes"),
  shared = spec(estimator = "iptw", estimand = "ATO", censoring = "~ age + hormon:nodes", shared = TRUE),
  arms = spec(estimator = "iptw", estimand = "ATT", censoring = "~ 1", shared = TRUE)
)
# Where causes compete (relapse; death without one): incidences by a model of hazards for each cause, and the martingales
# of all causes, integrated numerically over the time followed (Gauss and Legendre).
competing <- function(spec, data) {
  p <- propensity(data); q <- length(p$alpha); n <- nrow(data)
  right <- if (is.null(spec$outcome_model)) terms else as.formula(spec$outcome_model)
  o <- lapply(1:2, function(k) hazards(data, as.numeric(data$fate == k), right, is.null(spec$outcome_model)))
  augmented <- spec$estimator == "aipw"
  lost <- if (is.null(spec$censoring)) terms else as.formula(spec$censoring)
  m <- if (augmented) hazards(data, as.numeric(data$fate == 0), lost, TRUE)
  xs <- lapply(0:1, function(arm) { d <- data; d$a <- arm; d$hormon <- arm; o[[1]]$x(d) })
  xm <- if (augmented) m$x(data)
  sizes <- c(q, length(o[[1]]$theta), length(o[[2]]$theta), length(m$theta))
  part_of <- function(theta, i) theta[sum(sizes[seq_len(i - 1)]) + seq_len(sizes[i])]
  jacobi <- seq_len(9) / sqrt(4 * seq_len(9)^2 - 1)
  spectrum <- eigen(rbind(cbind(0, diag(jacobi)), 0) + rbind(0, cbind(diag(jacobi), 0)))
  node <- (spectrum$values + 1) / 2; weight <- spectrum$vectors[1, ]^2
  parts <- function(theta) {
    w <- weights_of(part_of(theta, 1), p$z, data$a, spec$estimand)
    B <- if (augmented) at(m, part_of(theta, 4), xm, data$a)
    number <- lapply(0:1, function(arm) {
      each <- lapply(1:2, function(k) at(o[[k]], part_of(theta, k + 1), xs[[arm + 1]], rep(arm, n)))
      A <- each[[1]] + each[[2]]; S <- exp(-t(apply(wide(A), 1, cumsum))); S0 <- cbind(1, S[, -M])
      lapply(1:2, function(k) {
        rise <- each[[k]] / A * (S0 - S); f <- t(apply(rise, 1, cumsum)); f0 <- f - rise
        if (!augmented) return(w$tilt * f)
        moments <- function(time) {  # at a time within each cell: 1/K, F/(S K) and 1/(S K)
          s <- S0 * exp(-A * time); kept <- exp(before(wide(B)) + B * time)
          list(kept, (f0 + each[[k]] / A * (S0 - s)) / s * kept, kept / s)
        }
        over <- lapply(seq_along(node), function(g) lapply(moments(stay * node[g]), `*`, stay * weight[g]))
        whole <- lapply(1:3, function(i) Reduce(`+`, lapply(over, `[[`, i))); last <- moments(stay)
        mine <- event_at * (data$fate == k)
        own <- mine * last[[1]] - each[[k]] * whole[[1]] + event_at * last[[2]] - A * whole[[2]]
        any <- event_at * last[[3]] - A * whole[[3]]
        X <- t(apply(own, 1, cumsum)) - f * t(apply(any, 1, cumsum))
        w$tilt * f + w$w * (data$a == arm) * X
      })
    })
    list(number = unlist(number, recursive = FALSE), tilt = w$tilt)  # arm 0 with both causes, then arm 1
  }
  read <- function(F) c(F[c(1, 3, 2, 4), match(times, edges)])  # by time, cause and arm
  curve <- function(theta) { g <- parts(theta); t(sapply(g$number, colSums)) / sum(g$tilt) }
  theta <- c(p$alpha, o[[1]]$theta, o[[2]]$theta, m$theta)
  F <- curve(theta); g <- parts(theta)
  along <- jacobian(function(s) read(matrix(s, 4)), c(F))
  own <- do.call(cbind, lapply(seq_len(M), function(j) sapply(1:4, function(i) g$number[[i]][, j] - g$tilt * F[i, j]))) / sum(g$tilt)
  slope <- jacobian(function(t) read(curve(t)), theta)
  if (!augmented) slope[, seq_len(q)] <- 0
  phi <- own %*% t(along) + cbind(p$moves, o[[1]]$moves, o[[2]]$moves, m$moves) %*% t(slope)
  list(spec = spec, n = n, values = read(F), vcov = crossprod(unname(phi)))
}

out <- list(
  software = list(R = R.version.string, survival = as.character(packageVersion("survival")), numDeriv = as.character(packageVersion("numDeriv"))),
  data = "src/confrere/demos/breast.csv; cells of 365 days until 2555", times = times, tau = tau,
  standardised = lapply(plain, standardised, breast), staying = lapply(weighted, staying, breast)
)
edges <- seq(730, 2920, 730); width <- diff(c(0, edges)); times <- c(1460, 2190); M <- length(edges)
breast$time <- ifelse(breast$recur == 1, breast$rtime, breast$dtime)
breast$fate <- ifelse(breast$recur == 1, 1, ifelse(breast$death == 1, 2, 0)); breast$event <- as.numeric(breast$fate > 0)
stay <- outer(breast$time, seq_len(M), function(t, j) pmin(pmax(t - c(0, edges)[j], 0), width[j]))
cell <- findInterval(breast$time, c(0, edges), left.open = TRUE)
event_at <- outer(cell, seq_len(M), "==") * (breast$event == 1)
causes <- list(
  gformula = spec(estimator = "gformula", estimand = "ATE"),
  gformula_att = spec(estimator = "gformula", estimand = "ATT", outcome_model = "~ hormon * age + nodes"),
  aipw = spec(estimator = "aipw", estimand = "ATE"),
  aipw_att = spec(estimator = "aipw", estimand = "ATT", outcome_model = "~ hormon + age + nodes", censoring = "~ age"),
  aipw_ato = spec(estimator = "aipw", estimand = "ATO", censoring = "~ 1")
)
out$causes <- list(
  data = "relapse, or death without; cells of 730 days until 2920", times = times, found = lapply(causes, competing, breast)
)
write(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE), "tests/oracles/effects_hazards.json")
