# Reference results for the evaluation of risks, computed by R from the demo tables of the package.
#
#   Rscript tests/oracles/make_evaluate.R      from the top of the repository; two minutes
#
# Debian packages: r-base-core r-cran-survival r-cran-proc r-cran-jsonlite. Areas and their variance are pROC's (DeLong),
# concordance is survival's, slopes are those of glm(): with follow-up of the complementary log-log, weighted against
# censoring. What no Debian package has is written out by its definition over people: the sandwich of these, AUC(t) with
# cumulative cases and dynamic controls, the Brier score with censoring weights, concordance with competing causes over
# all pairs; standard errors of the last three, and of what follows at a threshold,
# are the jackknife over people.
# Risks have few values, each in a cell of its own, so that nothing is lost by counting in cells.

suppressPackageStartupMessages({ library(jsonlite); library(pROC); library(survival) })
options(warn = 1, stringsAsFactors = FALSE)
out <- list(software = list(R = R.version.string, survival = as.character(packageVersion("survival")),
                            pROC = as.character(packageVersion("pROC"))))

breast <- read.csv("src/confrere/demos/breast.csv", na.strings = "")
score <- function(d) round(6 * pmin(d$nodes, 10) / 10 + 3 * (d$size != "<=20") + 3 * (d$grade == 3)) / 10

# Binary -----------------------------------------------------------------------------------------------------------
binary <- function(d, keep) {
  d <- d[keep, ]; eta <- -0.725 + score(d); p <- plogis(eta); y <- d$recur; n <- length(y)
  area <- roc(y, p, quiet = TRUE, direction = "<")
  tight <- list(epsilon = 1e-15, maxit = 100)
  large <- glm(y ~ 1 + offset(eta), binomial, control = tight)
  line <- glm(y ~ eta, binomial, control = tight)
  se <- function(x) sqrt(mean((x - mean(x))^2) / length(x))
  log_loss <- -ifelse(y == 1, log(p), log(1 - p)); squares <- (y - p)^2
  at <- function(t) { w <- t / (1 - t); mean(y * (p >= t) - w * (1 - y) * (p >= t)) }
  t <- 0.5
  list(n = n, events = sum(y), auc = as.numeric(auc(area)), auc_se = sqrt(var(area)),
       auc_limits = as.numeric(ci.auc(area))[c(1, 3)],
       brier = mean(squares), brier_se = se(squares), log_loss = mean(log_loss), log_loss_se = se(log_loss),
       observed_expected = sum(y) / sum(p),
       large = unname(coef(large)), large_se = sqrt(vcov(large)[1, 1]),
       line = unname(coef(line)), line_se = unname(sqrt(diag(vcov(line)))),
       benefit = at(t), treat_all = mean(y) - t / (1 - t) * mean(1 - y),
       sensitivity = mean(p[y == 1] >= t), specificity = mean(p[y == 0] < t),
       ppv = mean(y[p >= t]), npv = mean(1 - y[p < t]),
       sensitivity_limits = as.numeric(prop.test(sum(p[y == 1] >= t), sum(y), correct = FALSE)$conf.int))
}
all <- rep(TRUE, nrow(breast))
out$binary <- list(all = binary(breast, all), `0` = binary(breast, breast$meno == 0), `1` = binary(breast, breast$meno == 1))

# Followed -----------------------------------------------------------------------------------------------------------
# Kaplan-Meier of censoring, events first: G just before each person's time, and G at a horizon
G <- function(time, event) {
  times <- sort(unique(time)); at <- match(time, times); many <- length(times)
  gone <- tabulate(at[event > 0], many); lost <- tabulate(at[event == 0], many)
  risk <- rev(cumsum(rev(gone + lost)))
  list(times = times, value = cumprod(1 - lost / pmax(risk - gone, 1e-300)))
}
before <- function(g, t) c(1, g$value)[findInterval(t, g$times, left.open = TRUE) + 1]
by <- function(g, t) c(1, g$value)[findInterval(t, g$times) + 1]

auc_t <- function(time, event, p, t, g = G(time, event)) {
  case <- time <= t & event == 1
  w1 <- case / before(g, time)
  w0 <- (time <= t & event == 2) / before(g, time) + (time > t) / by(g, t)
  u <- match(p, sort(unique(p))); a <- rowsum(w1, u)[, 1]; b <- rowsum(w0, u)[, 1]
  sum(a * (cumsum(b) - b / 2)) / sum(a) / sum(b)
}
brier_t <- function(time, event, p, t, g = G(time, event)) {
  w <- ifelse(time > t, 1 / by(g, t), ifelse(event > 0, 1 / before(g, time), 0))
  mean(w * ((time <= t & event == 1) - p)^2)
}
# what follows for who is at or above a risk of `cut`: shares weighted against censoring, observed risks of both sides
treated_t <- function(time, event, p, t, cut, g = G(time, event)) {
  case <- (time <= t & event == 1) / before(g, time)
  control <- (time <= t & event == 2) / before(g, time) + (time > t) / by(g, t)
  above <- p >= cut; odds <- cut / (1 - cut)
  risk <- function(keep) {  # Aalen-Johansen
    u <- sort(unique(time[keep & event > 0 & time <= t])); alive <- 1; total <- 0
    for (x in u) {
      n <- sum(keep & time >= x)
      total <- total + alive * sum(keep & time == x & event == 1) / n
      alive <- alive * (1 - sum(keep & time == x & event > 0) / n)
    }
    total
  }
  high <- risk(above)
  c(sensitivity = sum(case[above]) / sum(case), specificity = sum(control[!above]) / sum(control), ppv = high,
    npv = 1 - risk(!above), benefit = mean(above) * (high - odds * (1 - high)))
}
treated <- function(time, event, p, t, cut) {
  found <- treated_t(time, event, p, t, cut); n <- length(time)
  v <- sapply(seq_len(n), function(i) treated_t(time[-i], event[-i], p[-i], t, cut))
  se <- sqrt((n - 1) / n * rowSums((v - rowMeans(v))^2))
  c(list(cut = cut), as.list(found), setNames(as.list(se), paste0(names(se), "_se")))
}
# by which line the risks would have been right: van Geloven et al., BMJ 2022;377:e069249; the errors are sandwich::sandwich's
line_t <- function(time, event, p, t, g = G(time, event)) {
  w <- ifelse(time > t, 1 / by(g, t), ifelse(event > 0, 1 / before(g, time), 0))
  D <- as.numeric(time <= t & event == 1); s <- log(-log1p(-p)); some <- w > 0
  D <- D[some]; s <- s[some]; w <- w[some]
  start <- NULL
  for (i in 1:30) {  # glm() stops by the deviance, which is flat where coefficients still move in the eighth digit
    fit <- suppressWarnings(glm(D ~ s, binomial(cloglog), weights = w, start = start, control = list(epsilon = 1e-15)))
    start <- coef(fit)
  }
  mu <- fitted(fit); score <- w * (D - mu) * binomial(cloglog)$mu.eta(predict(fit)) / mu / (1 - mu) * cbind(1, s)
  bread <- summary(fit)$cov.unscaled
  list(slope = unname(coef(fit)[2]), intercept = unname(coef(fit)[1]),
       slope_se = sqrt((bread %*% crossprod(score) %*% bread)[2, 2]))
}
wolbers <- function(time, event, p, tau, g = G(time, event)) {
  good <- total <- 0; b <- before(g, time)
  for (i in which(event == 1 & time <= tau)) {
    w <- (time > time[i] | (time == time[i] & event == 0)) / b[i]^2 + (event == 2 & time <= time[i]) / b[i] / b
    total <- total + sum(w); good <- good + sum(w * ((p < p[i]) + (p == p[i]) / 2))
  }
  good / total
}
jack <- function(f, n) { v <- sapply(seq_len(n), f); sqrt((n - 1) / n * sum((v - mean(v))^2)) }

followed <- function(d, keep) {
  d <- d[keep, ]; time <- d$rtime; event <- d$recur; s <- score(d) - 0.5; n <- nrow(d)
  tau <- 2555; at <- c(1461, tau); hazard <- c(0.4, 0.6)
  p <- sapply(hazard, function(h) 1 - exp(-h * exp(s)))
  last <- pmin(time, tau); happened <- event * (time <= tau)
  plain <- concordance(Surv(last, happened) ~ s, reverse = TRUE)
  uno <- concordance(Surv(time, event) ~ s, reverse = TRUE, timewt = "n/G2", ymax = tau)
  km <- summary(survfit(Surv(time, event) ~ 1, conf.type = "log-log"), times = at)
  briers <- sapply(1:2, function(i) brier_t(time, event, p[, i], at[i]))
  c(line_t(time, event, p[, 2], tau), list(
       n = n, events = sum(happened), auc = sapply(1:2, function(i) auc_t(time, event, p[, i], at[i])), brier = briers,
       ibs = mean(briers), harrell = unname(plain$concordance), harrell_se = sqrt(plain$var),
       uno = unname(uno$concordance), observed = 1 - km$surv, observed_se = km$std.err, expected = colMeans(p)))
}
out$followed <- list(all = followed(breast, all), `0` = followed(breast, breast$meno == 0),
                     `1` = followed(breast, breast$meno == 1))
d <- breast; s <- score(d) - 0.5; p <- 1 - exp(-0.6 * exp(s))
out$followed$all$auc_se <- jack(function(i) auc_t(d$rtime[-i], d$recur[-i], p[-i], 2555), nrow(d))
out$followed$all$brier_se <- jack(function(i) brier_t(d$rtime[-i], d$recur[-i], p[-i], 2555), nrow(d))
out$followed$all$treated <- treated(d$rtime, d$recur, p, 2555, 0.5)
keep <- d$meno == 0
out$followed$`0`$treated <- treated(d$rtime[keep], d$recur[keep], p[keep], 2555, 0.5)

# Competing ----------------------------------------------------------------------------------------------------------
m <- read.csv("src/confrere/demos/myeloma.csv", na.strings = "")
m <- m[complete.cases(m[, c("etime", "event", "age", "hgb", "mspike")]), ]
kind <- match(m$event, c("censored", "progression", "death")) - 1
s <- round(4 * (m$mspike - 1.2) - (m$hgb - 13) / 2 - (m$age - 70) / 20) / 4
s <- pmin(pmax(s, -2), 2)
p <- 1 - exp(-0.1 * exp(s)); tau <- 120
aj <- summary(survfit(Surv(m$etime, factor(kind, 0:2)) ~ 1), times = tau)
out$competing <- c(line_t(m$etime, kind, p, tau), list(
  n = nrow(m), events = sum(kind == 1 & m$etime <= tau), auc = auc_t(m$etime, kind, p, tau),
  brier = brier_t(m$etime, kind, p, tau), wolbers = wolbers(m$etime, kind, p, tau), observed = aj$pstate[1, 2],
  observed_se = aj$std.err[1, 2],
  auc_se = jack(function(i) auc_t(m$etime[-i], kind[-i], p[-i], tau), nrow(m)),
  brier_se = jack(function(i) brier_t(m$etime[-i], kind[-i], p[-i], tau), nrow(m))))
out$competing$treated <- treated(m$etime, kind, p, tau, 0.1)

# Women by their nodes alone, a few with many: as a published model of hazards, in five years ---------------------------
out$nodes <- line_t(breast$rtime, breast$recur, 1 - 0.75^exp(0.1 * breast$nodes), 1826)

# One hospital alone, whose people have nearly all another risk: what it keeps of its own ----------------------------
d <- breast[breast$hospital == "gouda", ]; stage <- score
score <- function(d) stage(d) + d$age / 193  # no two sums of a stage and an age alike
some <- rep(TRUE, nrow(d))
out$own <- list(binary = binary(d, some), followed = followed(d, some))
p <- 1 - exp(-0.6 * exp(score(d) - 0.5))
out$own$followed$auc_se <- jack(function(i) auc_t(d$rtime[-i], d$recur[-i], p[-i], 2555), nrow(d))
out$own$followed$brier_se <- jack(function(i) brier_t(d$rtime[-i], d$recur[-i], p[-i], 2555), nrow(d))

write(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE), "tests/oracles/evaluate.json")
