# Reference results for the tests, computed by R from the demo tables of the package.
#
#   Rscript tests/oracles/make_oracles.R [NAME ...]      from the top of the repository; all without NAME
#
# Debian packages: r-base-core r-cran-survival r-cran-sandwich r-cran-cmprsk.
# What each file holds, and how closely to meet it, stands in tests/oracles/README.md.

suppressPackageStartupMessages({ library(survival); library(sandwich); library(cmprsk); library(splines) })
options(warn = 1, stringsAsFactors = FALSE)

here <- "tests/oracles"
demos <- "src/confrere/demos"
tight <- coxph.control(eps = 1e-15, toler.chol = 1e-16, iter.max = 100, outer.max = 100)

# ---- JSON with every digit -----------------------------------------------------------------------
# Named lists and named vectors become objects, other vectors arrays, one(x) a single value,
# matrices arrays of rows. Numbers are the shortest text that reads back as the same double.

one <- function(x) structure(list(unname(x)), class = "one")

number_text <- function(x) {
  text <- rep("null", length(x))
  known <- which(is.finite(x))
  text[known] <- sprintf("%.15g", x[known])
  for (digits in c(16, 17)) {
    off <- known[as.numeric(text[known]) != x[known]]
    text[off] <- sprintf(paste0("%.", digits, "g"), x[off])
  }
  text
}

quoted <- function(x) paste0('"', gsub('(["\\\\])', "\\\\\\1", x), '"')

atom_text <- function(x) {
  if (is.logical(x) && !all(is.na(x))) return(ifelse(is.na(x), "null", ifelse(x, "true", "false")))
  if (is.factor(x)) x <- as.character(x)
  if (is.character(x)) return(ifelse(is.na(x), "null", quoted(x)))
  number_text(as.numeric(x))
}

json <- function(x, indent = "") {
  deeper <- paste0(indent, " ")
  object <- function(names, texts)
    paste0("{\n", paste0(deeper, quoted(names), ": ", texts, collapse = ",\n"), "\n", indent, "}")
  if (is.null(x)) return("null")
  if (inherits(x, "one")) return(atom_text(x[[1]]))
  if (is.data.frame(x)) x <- as.list(x)
  if (is.list(x)) {
    texts <- vapply(x, json, "", indent = deeper)
    if (is.null(names(x))) return(paste0("[", paste(texts, collapse = ", "), "]"))
    return(object(names(x), texts))
  }
  if (is.matrix(x)) {
    rows <- apply(x, 1, function(row) paste0("[", paste(atom_text(row), collapse = ", "), "]"))
    return(paste0("[", paste(rows, collapse = ", "), "]"))
  }
  if (!is.null(names(x))) return(object(names(x), atom_text(x)))
  paste0("[", paste(atom_text(x), collapse = ", "), "]")
}

software <- function() {
  packages <- c("survival", "sandwich", "cmprsk")
  c(R = paste(R.version$major, R.version$minor, sep = "."),
    setNames(vapply(packages, function(p) as.character(packageVersion(p)), ""), packages))
}

save_oracle <- function(name, data, ...) {
  path <- file.path(here, paste0(name, ".json"))
  content <- list(software = software(), data = data, ...)
  writeLines(json(content), path, useBytes = TRUE)
  cat(sprintf("%-28s %6.0f kB\n", path, file.size(path) / 1000))
}

# ---- the data -------------------------------------------------------------------------------------

read_demo <- function(name) read.csv(file.path(demos, name), na.strings = "")

breast <- read_demo("breast.csv")
breast$size <- factor(breast$size, c("<=20", "20-50", ">50"))
breast$w <- 1 + (breast$pid %% 3) / 2
breast$entry <- (breast$pid %% 5) * 100
late <- breast[breast$entry < breast$rtime, ]
cells <- transform(breast, cell = ceiling(rtime / 30))
late_cells <- transform(late, cell = ceiling(rtime / 30), entry_cell = ceiling(entry / 30))
late_cells <- late_cells[late_cells$entry_cell < late_cells$cell, ]

lung <- read_demo("lung.csv")
lung_sites <- lung[!is.na(lung$inst), ]
many <- names(which(table(lung_sites$inst) >= 11))
lung_eleven <- lung_sites[lung_sites$inst %in% as.numeric(many), ]

myeloma <- read_demo("myeloma.csv")
myeloma$event <- factor(myeloma$event, c("censored", "progression", "death"))
myeloma$sex <- factor(myeloma$sex, c("F", "M"))
myeloma$male <- as.numeric(myeloma$sex == "M")

says <- list(
  breast = one("breast.csv, all 2982 rows; size has the reference level <=20"),
  w = one("weight w = 1 + (pid mod 3)/2"),
  late = one(sprintf(paste("late: entry = (pid mod 5)*100 days; the %d people with entry >= rtime are left out,",
                           "%d remain"), nrow(breast) - nrow(late), nrow(late))),
  cells = one("cells: cell = ceiling(rtime/30), so cell j covers the days (30(j-1), 30j]; times are cell numbers"),
  late_cells = one(sprintf(paste("late_cells: late, entry_cell = ceiling(entry/30), at risk in the cells after it;",
                                 "%d people with entry_cell < cell"), nrow(late_cells))))

# ---- Cox ------------------------------------------------------------------------------------------

terms_of <- function(fit, values) setNames(as.numeric(values), names(coef(fit)))

zph_of <- function(fit, transform) {
  by_term <- cox.zph(fit, transform = transform)$table
  by_column <- cox.zph(fit, transform = transform, terms = FALSE)$table
  last <- nrow(by_term)
  list(terms = by_term[-last, "chisq"], df = by_term[-last, "df"],
       columns = by_column[-nrow(by_column), "chisq"],
       global = one(by_term[last, "chisq"]), global_df = one(by_term[last, "df"]))
}

concordance_of <- function(fit) {
  value <- concordance(fit)
  counts <- if (is.matrix(value$count)) colSums(value$count) else value$count
  list(estimate = one(value$concordance), std_error = one(sqrt(value$var)), counts = counts)
}

naive_of <- function(fit) if (is.null(fit$naive.var)) fit$var else fit$naive.var
score_of <- function(fit) {
  score <- residuals(fit, type = "score", weighted = TRUE)
  if (is.matrix(score)) colSums(score) else sum(score)
}

# coxph stops when the log-likelihood stands still, and one of -12,000 does so while the coefficients are
# still 1e-6 standard errors away, whatever eps says. So Newton's method goes on here, with coxph evaluated
# at given coefficients (iter.max = 0), until the step is rounding error. Tests of the null stay the first fit's.
fit_tight <- function(call, where = parent.frame()) {
  first <- fit <- suppressWarnings(eval(call, where))
  first_step <- NA
  for (round in 1:8) {
    variance <- naive_of(fit)
    step <- drop(variance %*% score_of(fit))
    left <- max(abs(step) / sqrt(diag(variance)))
    if (round == 1) first_step <- left
    if (left < 1e-13) break
    call$init <- unname(coef(fit)) + step
    call$control <- quote(coxph.control(iter.max = 0))
    fit <- suppressWarnings(eval(call, where))
  }
  stopifnot(left < 1e-11)
  fit$loglik[1] <- first$loglik[1]; fit$score <- first$score; fit$rscore <- first$rscore
  fit$call <- first$call; fit$step_left <- left; fit$coxph_step_left <- first_step
  fit
}

cox_of <- function(fit, zph = FALSE) {
  naive <- naive_of(fit)
  out <- list(
    call = one(paste(deparse(fit$call), collapse = " ")), ties = one(fit$method),
    n = one(fit$n), events = one(fit$nevent), 
    step_left = one(fit$step_left), coxph_step_left = one(fit$coxph_step_left), coef = coef(fit),
    std_error = terms_of(fit, sqrt(diag(naive))), vcov = unname(naive),
    loglik = setNames(fit$loglik, c("null", "fitted")),
    likelihood_ratio = one(2 * diff(fit$loglik)), score_test = one(fit$score),
    wald_test = one(drop(coef(fit) %*% solve(naive, coef(fit)))))
  if (!is.null(fit$naive.var)) out <- c(out, list(
    robust_std_error = terms_of(fit, sqrt(diag(fit$var))), robust_vcov = unname(fit$var),
    robust_wald_test = one(drop(coef(fit) %*% solve(fit$var, coef(fit)))), robust_score_test = one(fit$rscore)))
  out$concordance <- concordance_of(fit)
  if (zph) out$zph <- list(identity = zph_of(fit, "identity"), log = zph_of(fit, "log"))
  out
}

right <- "hormon + chemo + age + meno + size + grade + nodes + pgr + er"
cox <- function(formula, data, ties = "efron", weights = NULL) {
  fit_tight(bquote(coxph(.(as.formula(formula)), .(substitute(data)), weights = .(substitute(weights)), ties = .(ties),
                         cluster = pid, control = tight)), parent.frame())
}
surv <- function(outcome, more = "") paste(outcome, "~", right, more)
days <- "Surv(rtime, recur)"
by_hospital <- "+ strata(hospital)"

make_cox_breast <- function() {
  splined <- paste(days, "~ hormon + bs(age, knots = c(45, 55, 65), Boundary.knots = c(20, 95)) + strata(hospital)")
  natural <- paste(days, "~ hormon + ns(age, knots = c(45, 55, 65), Boundary.knots = c(20, 95)) + strata(hospital)")
  mixed <- paste(days, "~ hormon * age + log(nodes + 1) + I(pgr / 100) + size:meno + meno + strata(hospital)")
  save_oracle("cox_breast", says[c("breast", "w", "late")],
    stratified_efron = cox_of(cox(surv(days, by_hospital), breast), zph = TRUE),
    stratified_breslow = cox_of(cox(surv(days, by_hospital), breast, "breslow"), zph = TRUE),
    extra_strata = cox_of(cox(sub("meno \\+ ", "", surv(days, "+ strata(hospital) + strata(meno)")), breast), zph = TRUE),
    weights_efron = cox_of(cox(surv(days, by_hospital), breast, weights = w), zph = TRUE),
    weights_breslow = cox_of(cox(surv(days, by_hospital), breast, "breslow", weights = w), zph = TRUE),
    late_efron = cox_of(cox(surv("Surv(entry, rtime, recur)", by_hospital), late), zph = TRUE),
    late_breslow = cox_of(cox(surv("Surv(entry, rtime, recur)", by_hospital), late, "breslow"), zph = TRUE),
    late_weights = cox_of(cox(surv("Surv(entry, rtime, recur)", by_hospital), late, weights = w)),
    ridge_10 = ridge_of(10, "efron"), ridge_1000 = ridge_of(1000, "efron"), ridge_breslow = ridge_of(100, "breslow"),
    one_term = cox_of(cox(paste(days, "~ hormon + strata(hospital)"), breast), zph = TRUE),
    mixed_terms = cox_of(cox(mixed, breast)),
    b_spline = cox_of(cox(splined, breast)), natural_spline = cox_of(cox(natural, breast)),
    shared_efron = cox_of(cox(surv(days), breast), zph = TRUE),
    shared_breslow = cox_of(cox(surv(days), breast, "breslow"), zph = TRUE))
}

# ridge(theta) adds theta/2 * sum(beta^2), on the columns as they are. R's penalised fit is brought to its
# maximum as above: information and score at given coefficients come from coxph without a penalty.
ridge_of <- function(theta, ties) {
  frame <- transform(breast, size2 = as.numeric(size == "20-50"), size3 = as.numeric(size == ">50"))
  call <- bquote(coxph(Surv(rtime, recur) ~ ridge(hormon, chemo, age, meno, size2, size3, grade, nodes, pgr, er,
                       theta = .(theta), scale = FALSE) + strata(hospital), frame, ties = .(ties), control = tight))
  by_r <- suppressWarnings(eval(call)); beta <- unname(coef(by_r))
  for (round in 1:8) {
    plain <- suppressWarnings(eval(bquote(coxph(Surv(rtime, recur) ~ hormon + chemo + age + meno + size + grade + nodes + pgr + er +
      strata(hospital), breast, ties = .(ties), init = beta, control = coxph.control(iter.max = 0)))))
    information <- solve(plain$var); inverse <- solve(information + diag(theta, length(beta)))
    step <- drop(inverse %*% (score_of(plain) - theta * beta)); left <- max(abs(step) / sqrt(diag(inverse)))
    if (left < 1e-13) break
    beta <- beta + step
  }
  sandwich <- inverse %*% information %*% inverse; names <- names(coef(plain))
  stopifnot(left < 1e-11, max(abs(beta - coef(by_r)) / sqrt(diag(inverse))) < 1e-4,
            max(abs(inverse / by_r$var - 1)) < 1e-3, max(abs(sandwich / by_r$var2 - 1)) < 1e-3)
  list(call = one(paste(deparse(call), collapse = " ")), theta = one(theta), ties = one(ties),
       penalty = one("theta/2 * sum(beta^2); inverse (R's var) = (I + theta)^-1; sandwich (R's var2) = (I + theta)^-1 I (I + theta)^-1"),
       n = one(by_r$n), events = one(by_r$nevent), step_left = one(left), coef = setNames(beta, names),
       std_error_inverse = setNames(sqrt(diag(inverse)), names), vcov_inverse = unname(inverse),
       std_error_sandwich = setNames(sqrt(diag(sandwich)), names), vcov_sandwich = unname(sandwich),
       loglik = setNames(c(by_r$loglik[1], plain$loglik[2]), c("null", "fitted")), penalty_at_fit = one(theta / 2 * sum(beta^2)),
       df = one(sum(diag(information %*% inverse))))
}

baseline_of <- function(fit, person) {
  hazard <- basehaz(fit, centered = FALSE)
  curve <- survfit(fit, newdata = person, se.fit = TRUE)
  shown <- curve$n.event > 0
  list(fit = cox_of(fit, zph = TRUE), person = person,
       rule = one("times with events; Efron hazard 1/d sum_l d/(S0 - l/d D0) with Efron ties, d/S0 with Breslow; survival = exp(-cumulative hazard)"),
       baseline = list(time = hazard$time[shown], cumulative_hazard = hazard$hazard[shown]),
       predicted = list(time = curve$time[shown], at_risk = curve$n.risk[shown], events = curve$n.event[shown],
                        survival = curve$surv[shown], std_error_cumulative_hazard = curve$std.err[shown]))
}

make_cox_breast_baseline <- function() {
  person <- data.frame(hormon = 1, chemo = 0, age = 60, meno = 1, size = factor("20-50", levels(breast$size)),
                       grade = 3, nodes = 4, pgr = 100, er = 150)
  grid <- "Surv(cell, recur)"
  strata_fit <- cox(sub("meno \\+ ", "", surv(grid, "+ strata(meno)")), cells)
  strata_hazard <- basehaz(strata_fit, centered = FALSE)
  save_oracle("cox_breast_baseline", says,
    days_efron = baseline_of(cox(surv(days), breast), person),
    cells_efron = baseline_of(cox(surv(grid), cells), person),
    cells_breslow = baseline_of(cox(surv(grid), cells, "breslow"), person),
    cells_weights = baseline_of(cox(surv(grid), cells, weights = w), person),
    cells_late = baseline_of(cox(surv("Surv(entry_cell, cell, recur)"), late_cells), person),
    cells_strata = list(fit = cox_of(strata_fit, zph = TRUE), baseline = as.list(setNames(strata_hazard,
      c("cumulative_hazard", "time", "stratum")))),
    cells_stratified_by_hospital = cox_of(cox(surv(grid, by_hospital), cells), zph = TRUE))
}

make_cox_lung <- function() {
  right <- "Surv(time, status == 2) ~ age + sex + ph.ecog"
  fit <- function(data, more = "", ties = "efron") fit_tight(bquote(coxph(.(as.formula(paste(right, more))),
    .(substitute(data)), ties = .(ties), robust = TRUE, control = tight)), parent.frame())
  save_oracle("cox_lung", list(
      all = one("lung.csv, 228 rows; one has no ph.ecog and is left out by the fit"),
      sites = one("the 227 rows with an institution (18 institutions)"),
      eleven = one("rows of the institutions with at least 11 people, ph.ecog known or not"),
      institutions_with_eleven = as.numeric(many), people_with_eleven = one(nrow(lung_eleven))),
    shared = cox_of(fit(lung), zph = TRUE),
    stratified_sites = cox_of(fit(lung_sites, "+ strata(inst)"), zph = TRUE),
    stratified_sites_breslow = cox_of(fit(lung_sites, "+ strata(inst)", "breslow"), zph = TRUE),
    stratified_eleven = cox_of(fit(lung_eleven, "+ strata(inst)"), zph = TRUE),
    shared_eleven = cox_of(fit(lung_eleven), zph = TRUE))
}

make_splines <- function() {
  x <- c(20, 24, 30, 44.5, 45, 50, 55, 61.25, 65, 72, 90, 95)
  knots <- c(45, 55, 65); bounds <- c(20, 95)
  plain <- function(basis) matrix(as.numeric(basis), nrow(basis))
  save_oracle("splines", list(x = x, knots = knots, bounds = bounds,
      rule = one("one row for each x; intercept = FALSE, so R's bs drops the first B-spline")),
    bs = plain(bs(x, knots = knots, Boundary.knots = bounds)),
    bs_degree_2 = plain(bs(x, knots = knots, Boundary.knots = bounds, degree = 2)),
    ns = plain(ns(x, knots = knots, Boundary.knots = bounds)),
    ns_intercept = plain(ns(x, knots = knots, Boundary.knots = bounds, intercept = TRUE)))
}

# ---- Kaplan-Meier ---------------------------------------------------------------------------------

# R gives NA limits where the curve is 0 (log) or 0 or 1 (log-log): null here.
curves_of <- function(formula, data, times, taus, table = TRUE, ...) {
  make <- function(type) do.call(survfit, list(formula, data, conf.type = type, ...))
  logs <- make("log"); loglogs <- make("log-log")
  at <- summary(logs, times = times, extend = TRUE)
  at2 <- summary(loglogs, times = times, extend = TRUE)
  groups <- if (is.null(logs$strata)) "all" else sub("^[^=]*=", "", names(logs$strata))
  group_of <- function(s) if (is.null(s$strata)) rep("all", length(s$time)) else sub("^[^=]*=", "", as.character(s$strata))
  rows <- if (is.null(logs$strata)) rep("all", length(logs$time)) else rep(groups, logs$strata)
  per_group <- lapply(setNames(groups, groups), function(g) {
    pick <- rows == g; here <- group_of(at) == g; index <- match(g, groups)
    rmst <- lapply(taus, function(tau) {
      t <- rbind(summary(logs, rmean = tau)$table)
      c(tau = tau, estimate = unname(t[index, "rmean"]), std_error = unname(t[index, "se(rmean)"]))
    })
    mid <- function(fit) {
      q <- quantile(fit, probs = c(0.25, 0.5, 0.75))
      cut <- function(m) { m <- rbind(m); setNames(as.numeric(m[index, ]), c("0.25", "0.5", "0.75")) }
      list(estimate = cut(q$quantile), conf_low = cut(q$lower), conf_high = cut(q$upper))
    }
    out <- list(n = one(logs$n[index]),
      at_times = list(time = at$time[here], at_risk = at$n.risk[here], estimate = at$surv[here],
        std_error = at$std.err[here], log_low = at$lower[here], log_high = at$upper[here],
        loglog_low = at2$lower[here], loglog_high = at2$upper[here]),
      quantiles_log = mid(logs), quantiles_loglog = mid(loglogs), rmst = rmst)
    if (table) out$table <- list(time = logs$time[pick], at_risk = logs$n.risk[pick], events = logs$n.event[pick],
      censored = logs$n.censor[pick], estimate = logs$surv[pick], std_error_log = logs$std.err[pick])
    out
  })
  list(call = one(paste("survfit(", paste(deparse(formula), collapse = " "), ")")), groups = per_group)
}

# The same people on a public grid of 30 days, events and censorings together: over a cell the
# curve is multiplied by (1 - (d + c)/n)^(d/(d + c)), which spreads the censorings evenly in it.
coarse_of <- function(data, group) {
  lapply(split(data, data[[group]]), function(g) {
    cell <- ceiling(g$rtime / 30); last <- max(cell)
    d <- tabulate(cell[g$recur == 1], last); c <- tabulate(cell[g$recur == 0], last)
    n <- nrow(g) - cumsum(c(0, head(d + c, -1)))
    step <- ifelse(d > 0, (1 - (d + c) / n)^(d / pmax(d + c, 1)), 1)
    used <- d + c > 0
    list(cell = which(used), at_risk = n[used], events = d[used], censored = c[used], estimate = cumprod(step)[used])
  })
}

make_km_breast <- function() {
  times <- c(365, 730, 1826, 3652); taus <- c(1826, 3652)
  by <- Surv(rtime, recur) ~ hormon; delayed <- Surv(entry, rtime, recur) ~ hormon
  save_oracle("km_breast", c(says[c("breast", "w", "late")], list(
      std_error_log = one("square root of Greenwood's sum, R's std.err; times the estimate it is the standard error"),
      rmst = one("area up to tau; R's se(rmean)"),
      coarse_30 = one("cell j covers (30(j-1), 30j]; see coarse_of in make_oracles.R"))),
    by_hormon = curves_of(by, breast, times, taus),
    overall = curves_of(Surv(rtime, recur) ~ 1, breast, times, taus, table = FALSE),
    by_size = curves_of(Surv(rtime, recur) ~ size, breast, times, taus, table = FALSE),
    late = curves_of(delayed, late, times, taus, table = FALSE),
    weights_greenwood = curves_of(by, breast, times, taus, table = FALSE, weights = breast$w, robust = FALSE),
    weights_robust = curves_of(by, breast, times, taus, table = FALSE, weights = breast$w, robust = TRUE, id = breast$pid),
    death_by_hormon = curves_of(Surv(dtime, death) ~ hormon, breast, times, taus, table = FALSE),
    coarse_30 = coarse_of(breast, "hormon"))
}

make_km_lung <- function() {
  times <- c(90, 180, 365, 730); taus <- c(365, 730)
  by <- Surv(time, status == 2) ~ sex
  save_oracle("km_lung", list(all = one("lung.csv, 228 rows"), sites = one("227 rows with an institution"),
      eleven = one("rows of the institutions with at least 11 people")),
    by_sex = curves_of(by, lung, times, taus), sites_by_sex = curves_of(by, lung_sites, times, taus, table = FALSE),
    eleven_by_sex = curves_of(by, lung_eleven, times, taus, table = FALSE))
}

# ---- log-rank tests -------------------------------------------------------------------------------

# Written out, for the weights and the left truncation that survdiff lacks. Within a stratum, at an
# event time with n at risk and d events: observed and expected times the weight; hypergeometric
# variance. S is the pooled left-continuous Kaplan-Meier curve of the stratum.
logrank_by_hand <- function(time, status, group, weight, strata = rep(1, length(time)), entry = rep(-Inf, length(time))) {
  group <- factor(group); k <- nlevels(group); observed <- expected <- numeric(k); variance <- matrix(0, k, k)
  for (s in unique(strata)) {
    inside <- strata == s; survival <- 1
    for (t in sort(unique(time[inside & status == 1]))) {
      risk <- inside & entry < t & time >= t; event <- risk & time == t & status == 1
      ng <- tabulate(group[risk], k); dg <- tabulate(group[event], k); n <- sum(ng); d <- sum(dg)
      w <- weight(n, survival)
      observed <- observed + w * dg; expected <- expected + w * d * ng / n
      if (n > 1) variance <- variance + w^2 * d * (n - d) / (n - 1) * (diag(ng / n, k) - outer(ng / n, ng / n))
      survival <- survival * (1 - d / n)
    }
  }
  u <- (observed - expected)[-1]
  list(groups = levels(group), n = as.numeric(table(group)), observed = observed, expected = expected,
       variance = variance, chisq = one(drop(u %*% solve(variance[-1, -1, drop = FALSE], u))), df = one(k - 1))
}

survdiff_of <- function(fit) {
  total <- function(x) if (is.matrix(x)) rowSums(x) else as.numeric(x)
  list(call = one(paste(deparse(fit$call), collapse = " ")), groups = unique(sub("^[^=]*=", "", sub(",.*", "", names(fit$n)))),
       n = as.numeric(total(fit$n)), observed = total(fit$obs),
       expected = total(fit$exp), variance = unname(fit$var), chisq = one(fit$chisq), df = one(length(total(fit$obs)) - 1))
}

same <- function(a, b) stopifnot(abs(a$chisq[[1]] - b$chisq[[1]]) < 1e-9 * b$chisq[[1]],
  max(abs(a$variance - b$variance)) < 1e-9 * max(b$variance))

make_logrank <- function() {
  one_weight <- function(n, s) 1
  hand <- function(weight, group, strata = rep(1, nrow(breast))) with(breast, logrank_by_hand(rtime, recur, group, weight, strata))
  plain <- survdiff_of(survdiff(Surv(rtime, recur) ~ hormon, breast))
  peto <- survdiff_of(survdiff(Surv(rtime, recur) ~ hormon, breast, rho = 1))
  layered <- survdiff_of(survdiff(Surv(rtime, recur) ~ hormon + strata(hospital), breast))
  layered_peto <- survdiff_of(survdiff(Surv(rtime, recur) ~ hormon + strata(hospital), breast, rho = 1))
  three <- survdiff_of(survdiff(Surv(rtime, recur) ~ size, breast))
  same(hand(one_weight, breast$hormon), plain)
  same(hand(one_weight, breast$hormon, breast$hospital), layered)
  same(hand(one_weight, breast$size), three)
  same(hand(function(n, s) s, breast$hormon), peto)
  save_oracle("logrank", c(says["breast"], says["late"], list(
      rule = one("observed, expected and variance carry the weight; in the order of groups"),
      by_hand = one("gehan_breslow (weight n), tarone_ware (sqrt n), fleming_harrington_1_1 (S(1-S)) and late come from logrank_by_hand in make_oracles.R, which equals survdiff where survdiff applies"))),
    logrank = plain, peto = peto, stratified = layered, stratified_peto = layered_peto,
    stratified_size = survdiff_of(survdiff(Surv(rtime, recur) ~ hormon + strata(size), breast)),
    three_groups = three, three_groups_stratified = survdiff_of(survdiff(Surv(rtime, recur) ~ size + strata(hospital), breast)),
    gehan_breslow = hand(function(n, s) n, breast$hormon),
    tarone_ware = hand(function(n, s) sqrt(n), breast$hormon),
    fleming_harrington_1_1 = hand(function(n, s) s * (1 - s), breast$hormon),
    gehan_breslow_stratified = hand(function(n, s) n, breast$hormon, breast$hospital),
    three_groups_tarone_ware = hand(function(n, s) sqrt(n), breast$size),
    late = with(late, logrank_by_hand(rtime, recur, hormon, one_weight, entry = entry)),
    late_stratified = with(late, logrank_by_hand(rtime, recur, hormon, one_weight, hospital, entry)),
    cells_30 = with(cells, logrank_by_hand(cell, recur, hormon, one_weight)),
    lung_sex = survdiff_of(survdiff(Surv(time, status == 2) ~ sex, lung)),
    lung_sex_sites = survdiff_of(survdiff(Surv(time, status == 2) ~ sex + strata(inst), lung_sites)))
}

# ---- generalised linear models --------------------------------------------------------------------

glm_of <- function(formula, family, data, start = NULL, ...) {
  again <- function(start) suppressWarnings(do.call(glm, list(formula, family, data, start = start,
    control = glm.control(epsilon = 1e-15, maxit = 200), ...)))
  score <- function(fit) max(abs(colSums(estfun(fit))) / sqrt(colSums(estfun(fit)^2)))
  # Started again from the solution until it stands still: the deviance is flat long before the coefficients
  # are done (other links than the canonical one), and the variance uses the weights of the last step but one.
  fit <- again(coef(again(start)))
  for (i in 1:200) if (score(fit) > 1e-12) fit <- again(coef(fit))
  covariance <- vcov(fit); robust <- sandwich(fit); named <- names(coef(fit))
  list(call = one(paste0("glm(", paste(deparse(formula), collapse = " "), ", ", family$family, "(", family$link, "))")),
       n = one(nobs(fit)), coef = coef(fit), std_error = setNames(sqrt(diag(covariance)), named),
       vcov = unname(covariance), robust_std_error = setNames(sqrt(diag(robust)), named), robust_vcov = unname(robust),
       dispersion = one(summary(fit)$dispersion), deviance = one(fit$deviance), null_deviance = one(fit$null.deviance),
       df_residual = one(fit$df.residual), df_null = one(fit$df.null), aic = one(fit$aic), loglik = one(as.numeric(logLik(fit))),
       last_relative_score = one(score(fit)))
}

weighted_binary <- function(fit) c(fit, list(loglik_weighted = one(-fit$deviance[[1]] / 2)))

make_glm_breast <- function() {
  w <- breast$w; exposure <- log(breast$rtime / 365.25)
  linear <- nodes ~ age + meno + size + grade
  binary <- recur ~ hormon + age + meno + size + grade + nodes
  counts <- nodes ~ age + size + grade + offset(log(rtime / 365.25))
  positive <- rtime ~ age + size + grade + nodes
  pooled <- lm(linear, breast); weighted <- lm(linear, breast, weights = w)
  lm_more <- function(fit) { s <- summary(fit); list(sigma = one(s$sigma), r_squared = one(s$r.squared),
    adjusted_r_squared = one(s$adj.r.squared), f_statistic = unname(s$fstatistic), statistic = s$coefficients[, 3], p_value = s$coefficients[, 4]) }
  save_oracle("glm_breast", c(says[c("breast", "w")], list(
      robust = one("HC0: sandwich(fit); a weighted person adds (w x (y - mu) ...)^2"),
      dispersion = one("Pearson's chi-squared over the residual degrees of freedom; 1 for binomial and poisson"),
      aic = one(paste("R's: gaussian and Gamma count the dispersion as one more parameter and put deviance/n (gaussian) or",
        "deviance/sum(w) (Gamma) for it; R's binomial rounds weights, so that with weights of 1.5 its aic and loglik mean nothing:",
        "logit_weights has loglik_weighted = -deviance/2 beside them")),
      last_relative_score = one("largest |sum of scores| over the root of the sum of their squares: how far the fit had converged"))),
    gaussian = c(glm_of(linear, gaussian(), breast), list(lm = lm_more(pooled))),
    gaussian_weights = c(glm_of(linear, gaussian(), breast, weights = w), list(lm = lm_more(weighted))),
    gaussian_log = glm_of(rtime ~ age + size, gaussian("log"), breast, start = c(7, 0, 0, 0)),
    logit = glm_of(binary, binomial(), breast),
    logit_weights = weighted_binary(glm_of(binary, binomial(), breast, weights = w)),
    logit_offset = glm_of(recur ~ hormon + nodes + offset(exposure), binomial(), cbind(breast, exposure = exposure)),
    logit_hospital = glm_of(recur ~ hormon * age + size + hospital, binomial(), breast),
    probit = glm_of(binary, binomial("probit"), breast),
    cloglog = glm_of(binary, binomial("cloglog"), breast),
    poisson = glm_of(nodes ~ age + size + grade, poisson(), breast),
    poisson_offset = glm_of(counts, poisson(), breast),
    poisson_weights = glm_of(counts, poisson(), breast, weights = w),
    poisson_rate = glm_of(recur ~ hormon + size + offset(log(rtime / 365.25)), poisson(), breast),
    gamma_log = glm_of(positive, Gamma("log"), breast),
    gamma_log_weights = glm_of(positive, Gamma("log"), breast, weights = w),
    gamma_log_pgr = glm_of(I(pgr + 1) ~ age + meno + size, Gamma("log"), breast),
    gamma_inverse = glm_of(positive, Gamma("inverse"), breast),
    gamma_inverse_weights = glm_of(positive, Gamma("inverse"), breast, weights = w),
    gaussian_no_intercept = {fit <- glm_of(nodes ~ 0 + size + age, gaussian(), breast)
      c(fit, list(lm = lm_more(lm(nodes ~ 0 + size + age, breast))))},
    logit_no_intercept = glm_of(recur ~ 0 + size + age, binomial(), breast),
    logit_shares = glm_of(I(((er > 10) + (pgr > 10) + recur) / 3) ~ age + grade, binomial(), breast, weights = rep(3, nrow(breast))),
    binomial_log = glm_of(recur ~ hormon + size, binomial("log"), breast, start = c(-1, 0, 0, 0)),
    poisson_identity = glm_of(nodes ~ size, poisson("identity"), breast, start = c(1, 0, 0)),
    poisson_sqrt = glm_of(nodes ~ size + grade, poisson("sqrt"), breast),
    poisson_alone = glm_of(nodes ~ 1, poisson(), breast),
    gamma_inverse_no_intercept = glm_of(rtime ~ 0 + size, Gamma("inverse"), breast),
    gamma_identity = glm_of(rtime ~ size + meno, Gamma("identity"), breast, start = c(2500, 0, 0, 0)))
}

# ---- competing risks ------------------------------------------------------------------------------

# Aalen-Johansen with the delta-method variance (Marubini and Valsecchi 1995, equation 10.12), written out.
incidence_by_hand <- function(time, event, cause) {
  times <- sort(unique(time[event != "censored"])); s <- 1; f <- 0; rows <- NULL
  for (t in times) {
    n <- sum(time >= t); d <- sum(time == t & event != "censored"); dk <- sum(time == t & event == cause)
    f <- f + s * dk / n
    rows <- rbind(rows, c(t, n, d, dk, s, f)); s <- s * (1 - d / n)
  }
  variance <- vapply(seq_along(times), function(i) {
    p <- rows[seq_len(i), , drop = FALSE]; gap <- f_at(p, i) - p[, 6]; n <- p[, 2]; d <- p[, 3]; dk <- p[, 4]; before <- p[, 5]
    sum(ifelse(n > d, gap^2 * d / (n * (n - d)), 0)) + sum(before^2 * dk * (n - dk) / n^3) - 2 * sum(gap * before * dk / n^2)
  }, 0)
  list(time = rows[, 1], at_risk = rows[, 2], events_any = rows[, 3], events = rows[, 4], estimate = rows[, 6],
       std_error = sqrt(pmax(variance, 0)))
}
f_at <- function(rows, i) rows[i, 6]

incidence_of <- function(formula, data, times, table = TRUE) {
  fit <- survfit(formula, data, conf.type = "log-log"); plain <- survfit(formula, data)
  at <- summary(fit, times = times, extend = TRUE); at_log <- summary(plain, times = times, extend = TRUE)
  groups <- if (is.null(fit$strata)) "all" else sub("^[^=]*=", "", names(fit$strata))
  rows <- if (is.null(fit$strata)) rep("all", length(fit$time)) else rep(groups, fit$strata)
  rows_at <- if (is.null(at$strata)) rep("all", length(at$time)) else sub("^[^=]*=", "", as.character(at$strata))
  variable <- all.vars(formula)[3]
  lapply(setNames(groups, groups), function(g) {
    members <- if (g == "all") data else data[as.character(data[[variable]]) == g, ]
    pick <- rows == g; here <- rows_at == g
    by_cause <- lapply(c(progression = 2, death = 3), function(state) {
      cause <- fit$states[state]; delta <- incidence_by_hand(members$etime, members$event, cause)
      last <- findInterval(times, delta$time)
      stopifnot(max(abs(delta$estimate[last] - at$pstate[here, state])) < 1e-12,
                max(abs(delta$std_error[last] - at$std.err[here, state])) < 1e-12)
      out <- list(at_times = list(time = times, estimate = at$pstate[here, state], std_error_jackknife = at$std.err[here, state],
          std_error_delta = delta$std_error[last], log_low = at_log$lower[here, state], log_high = at_log$upper[here, state],
          loglog_low = at$lower[here, state], loglog_high = at$upper[here, state]))
      if (table) out$table <- list(time = fit$time[pick], estimate = fit$pstate[pick, state],
        std_error_jackknife = fit$std.err[pick, state])
      out
    })
    counts <- list(time = fit$time[pick], at_risk = rowSums(fit$n.risk[pick, , drop = FALSE]),
                   progression = fit$n.event[pick, 2], death = fit$n.event[pick, 3], censored = rowSums(cbind(fit$n.censor)[pick, , drop = FALSE]))
    c(list(n = one(nrow(members))), if (table) list(counts = counts), by_cause)
  })
}

fine_gray_of <- function(cause, strata, ties, data) {
  data$deal <- data$hospital  # finegray turns the variable in strata() into weights by stratum and drops it
  outcome <- Surv(etime, event) ~ age + male + mspike + id + deal
  if (strata) outcome <- update(outcome, . ~ . + strata(hospital))
  long <- finegray(outcome, data = data, etype = cause)
  right <- if (strata) "age + male + mspike + strata(deal)" else "age + male + mspike"
  formula <- as.formula(paste("Surv(fgstart, fgstop, fgstatus) ~", right))
  fit <- fit_tight(bquote(coxph(.(formula), long, weights = fgwt, cluster = id, ties = .(ties), control = tight)))
  out <- cox_of(fit)
  out$n <- one(length(unique(long$id))); out$rows <- one(nrow(long)); out$concordance <- NULL
  out$call <- one(sprintf("finegray(Surv(etime, event) ~ .%s, etype = %s); coxph(%s, weights = fgwt, cluster = id, ties = %s)",
                          if (strata) " + strata(hospital)" else "", cause, deparse(formula), ties))
  out
}

crr_of <- function(cause, data) {
  x <- as.matrix(data[, c("age", "male", "mspike")])
  fit <- crr(data$etime, data$event, x, failcode = cause, cencode = "censored", gtol = 1e-12, maxiter = 100)
  list(call = one(sprintf("crr(etime, event, age + male + mspike, failcode = %s)", cause)), coef = fit$coef,
       std_error = setNames(sqrt(diag(fit$var)), names(fit$coef)), vcov = unname(fit$var), converged = one(fit$converged),
       loglik = setNames(c(fit$loglik.null, fit$loglik), c("null", "fitted")))
}

make_competing_myeloma <- function() {
  times <- c(60, 120, 240); full <- myeloma[!is.na(myeloma$mspike), ]
  specific <- function(cause, more = "", ties = "efron") {
    formula <- as.formula(paste0('Surv(etime, event == "', cause, '") ~ age + male + mspike', more))
    cox_of(fit_tight(bquote(coxph(.(formula), full, ties = .(ties), robust = TRUE, control = tight))), zph = TRUE)
  }
  gray <- with(myeloma, cuminc(etime, event, sex, cencode = "censored"))
  at <- timepoints(gray[grep("progression|death", names(gray))], times)
  causes <- c(progression = "progression", death = "death")
  save_oracle("competing_myeloma", list(
      myeloma = one("myeloma.csv, 1384 rows; male = 1 for sex M; 11 rows have no mspike and are left out by the regressions"),
      ties = one("nine people have progression and death in the same month: progression counts"),
      jackknife = one("R's survfit: infinitesimal jackknife by person"),
      delta = one("delta method from the counts at risk and of events: equals the jackknife without weights; cuminc divides a little differently")),
    by_sex = incidence_of(Surv(etime, event) ~ sex, myeloma, times),
    overall = incidence_of(Surv(etime, event) ~ 1, myeloma, times, table = FALSE),
    cuminc = list(call = one("cmprsk::cuminc(etime, event, sex)"), curves = rownames(at$est), times = times, estimate = unname(at$est), variance = unname(at$var),
      gray_test = list(causes = rownames(gray$Tests), chisq = as.numeric(gray$Tests[, "stat"]), df = as.numeric(gray$Tests[, "df"]))),
    cause_specific = lapply(causes, specific),
    cause_specific_breslow = lapply(causes, specific, ties = "breslow"),
    cause_specific_by_hospital = lapply(causes, specific, more = " + strata(hospital)"),
    fine_gray = lapply(causes, fine_gray_of, FALSE, "efron", full),
    fine_gray_breslow = lapply(causes, fine_gray_of, FALSE, "breslow", full),
    fine_gray_by_hospital = lapply(causes, fine_gray_of, TRUE, "efron", full),
    fine_gray_by_hospital_breslow = lapply(causes, fine_gray_of, TRUE, "breslow", full),
    crr = lapply(causes, crr_of, full))
}

# ---- describe -------------------------------------------------------------------------------------

number_summary <- function(x) {
  known <- x[!is.na(x)]
  probs <- c(0.05, 0.25, 0.5, 0.75, 0.95)
  list(n = one(length(known)), missing = one(sum(is.na(x))), mean = one(mean(known)), sd = one(sd(known)),
       quantiles = setNames(quantile(known, probs, type = 7), as.character(probs)))
}

level_summary <- function(x) list(n = one(sum(!is.na(x))), missing = one(sum(is.na(x))),
  counts = c(table(x)), proportions = c(prop.table(table(x))))

smd_numbers <- function(a, b) {
  a <- a[!is.na(a)]; b <- b[!is.na(b)]
  (mean(b) - mean(a)) / sqrt((var(a) + var(b)) / 2)
}

# Yang and Dalton, SAS Global Forum 2012, paper 335: Mahalanobis distance of the shares, first level left out.
smd_levels <- function(a, b) {
  p <- prop.table(table(a))[-1]; q <- prop.table(table(b))[-1]
  spread <- function(s) diag(as.numeric(s), length(s)) - outer(as.numeric(s), as.numeric(s))
  gap <- as.numeric(q - p)
  sqrt(drop(gap %*% solve((spread(p) + spread(q)) / 2, gap)))
}

describe_of <- function(data, by, numbers, categories) {
  g <- factor(data[[by]]); pairs <- combn(levels(g), 2, simplify = FALSE)
  summaries <- function(rows) c(
    list(people = one(sum(rows))),
    lapply(data[rows, numbers, drop = FALSE], number_summary), lapply(data[rows, categories, drop = FALSE], level_summary))
  smd <- function(v, measure) vapply(pairs, function(p) measure(data[[v]][g == p[1]], data[[v]][g == p[2]]), 0)
  list(by = one(by), overall = summaries(rep(TRUE, nrow(data))),
       groups = lapply(setNames(levels(g), levels(g)), function(l) summaries(g == l)),
       pairs = lapply(pairs, identity),
       smd = c(lapply(setNames(numbers, numbers), smd, smd_numbers), lapply(setNames(categories, categories), smd, smd_levels)))
}

make_describe <- function() {
  numbers <- c("age", "nodes", "pgr", "er", "year", "rtime", "meno", "chemo", "recur", "death")
  breast$grade <- factor(breast$grade); breast$meno_level <- factor(breast$meno)
  lung$ph.ecog <- factor(lung$ph.ecog)
  save_oracle("describe", list(breast = says$breast, lung = one("lung.csv, 228 rows"),
      numbers = one("sd with n - 1; quantiles of type 7; smd = (mean of the second - mean of the first of the pair) / sqrt((s1^2 + s2^2)/2), missing left out"),
      categories = one("smd of Yang and Dalton over the known values, no sign; meno_level is meno as a category")),
    breast_by_hormon = describe_of(breast, "hormon", numbers, c("size", "grade", "meno_level")),
    breast_by_size = describe_of(breast, "size", numbers, c("grade", "meno_level")),
    breast_by_hospital = describe_of(breast, "hospital", c("age", "nodes"), c("size", "grade")),
    lung_by_sex = describe_of(lung, "sex", c("age", "ph.karno", "pat.karno", "meal.cal", "wt.loss", "time"), "ph.ecog"))
}

# ---- predictions ----------------------------------------------------------------------------------

newcomers <- data.frame(hormon = c(0, 1, 1, 0, 1), chemo = c(1, 0, 0, 1, 1), age = c(40, 55, 63.5, 71, 48), meno = c(0, 1, 1, 1, 0),
  size = factor(c("<=20", "20-50", ">50", "20-50", "<=20"), levels(breast$size)), grade = c(3, 2, 3, 3, 2), nodes = c(0, 2, 11, 5, 1),
  pgr = c(10, 0, 250, 31, 90), er = c(5, 300, 77, 0, 12), rtime = c(365, 900, 1800, 3000, 50))

glm_predicted <- function(formula, family) {
  again <- function(start) suppressWarnings(glm(formula, family, breast, start = start, control = glm.control(epsilon = 1e-15, maxit = 200)))
  fit <- again(NULL)
  for (i in 1:5) fit <- again(coef(fit))
  on <- function(type) { p <- predict(fit, newcomers, type = type, se.fit = TRUE); list(estimate = unname(p$fit), std_error = unname(p$se.fit)) }
  list(call = one(paste0("glm(", paste(deparse(formula), collapse = " "), ", ", family$family, "(", family$link, "))")),
       link = on("link"), response = on("response"))
}

lm_predicted <- function(formula) {
  p <- predict(lm(formula, breast), newcomers, se.fit = TRUE, interval = "confidence", level = 0.9)
  list(call = one(paste0("lm(", deparse(formula), ")")), level = one(0.9),
       response = list(estimate = unname(p$fit[, "fit"]), std_error = unname(p$se.fit), conf_low = unname(p$fit[, "lwr"]), conf_high = unname(p$fit[, "upr"])))
}

lp_predicted <- function(fit, rows) {
  on <- function(type) { p <- predict(fit, rows, type = type, se.fit = TRUE, reference = "sample"); list(estimate = unname(p$fit), std_error = unname(p$se.fit)) }
  list(call = one(paste(deparse(fit$call), collapse = " ")), centre = fit$means, lp = on("lp"), risk = on("risk"))
}

curves_predicted <- function(fit, rows, times) {
  one_of <- function(i) {
    s <- summary(survfit(fit, newdata = rows[i, , drop = FALSE]), times = times)
    list(estimate = as.vector(s$surv), std_error = as.vector(s$std.err), conf_low = as.vector(s$lower), conf_high = as.vector(s$upper))
  }
  list(call = one(paste(deparse(fit$call), collapse = " ")), times = times, people = lapply(seq_len(nrow(rows)), one_of))
}

make_predict <- function() {
  plain <- Surv(rtime, recur) ~ hormon + age + size + nodes
  here <- transform(newcomers, hospital = breast$hospital[1], pid = 1)
  by_site <- update(plain, . ~ . + strata(hospital))
  months <- transform(breast, rtime = ceiling(rtime / 30))
  monthly <- function(formula, ties) fit_tight(bquote(coxph(.(formula), months, ties = .(ties), control = tight)))
  save_oracle("predict", list(breast = says$breast, w = says$w,
      newcomers = one("the people predicted for; months: rtime = ceiling(rtime / 30)"),
      centre = one("coxph's means: 0 for columns whose values are all -1, 0 or 1"),
      risk_se = one("R's standard error of a risk is se(lp) * sqrt(risk)")),
    newcomers = as.list(newcomers),
    gaussian = lm_predicted(nodes ~ age + size + grade),
    logit = glm_predicted(recur ~ hormon * nodes + ns(age, knots = c(45, 55, 65), Boundary.knots = c(20, 95)) + scale(er), binomial()),
    probit = glm_predicted(recur ~ hormon + age + size, binomial("probit")),
    poisson_offset = glm_predicted(nodes ~ age + size + offset(log(rtime / 365.25)), poisson()),
    gamma_inverse = glm_predicted(rtime ~ age + size + nodes, Gamma("inverse")),
    cox_by_hospital = lp_predicted(fit_tight(bquote(coxph(.(by_site), breast, control = tight))), here),
    cox_weights = lp_predicted(fit_tight(bquote(coxph(.(by_site), breast, weights = w, control = tight))), here),
    cox_robust = lp_predicted(fit_tight(bquote(coxph(.(by_site), breast, cluster = pid, control = tight))), here),
    shared = curves_predicted(monthly(plain, "efron"), newcomers, c(6, 12, 36, 60)),
    shared_breslow = curves_predicted(monthly(plain, "breslow"), newcomers, c(6, 12, 36, 60)),
    shared_strata = curves_predicted(monthly(Surv(rtime, recur) ~ hormon + age + nodes + strata(size), "efron"), newcomers, c(6, 12, 36, 60)))
}

# ---- worklist -------------------------------------------------------------------------------------

# R's &, | and ! are Kleene's: NA & FALSE is FALSE. ruled_out: at the first criterion that somebody fails.
funnel_of <- function(data, criteria) {
  met <- sapply(criteria, function(text) with(data, eval(parse(text = text))))
  first <- apply(met, 1, function(row) c(which(!row), NA)[1])
  left <- vapply(seq_along(criteria), function(j) sum(is.na(first) | first > j), 0)
  list(criteria = criteria, screened = one(nrow(data)), not_ruled_out = left,
       meet_all = one(sum(rowSums(met) == length(criteria), na.rm = TRUE)),
       listed = which(is.na(first)), unknown = lapply(which(is.na(first)), function(i) unname(as.integer(is.na(met[i, ])))))
}

make_worklist <- function() {
  lung$ph.ecog <- factor(lung$ph.ecog)
  save_oracle("worklist", list(lung = one("lung.csv, 228 rows"), listed = one("numbers of rows, from 1"),
      unknown = one("1 for each criterion that is NA, of each row listed")),
    funnel = funnel_of(lung, c("age >= 60", "ph.ecog == '0' | pat.karno >= 80", "!(meal.cal < 1000 & wt.loss > 10)",
                               "log(time) > 5")))
}

# ---- recruitment ----------------------------------------------------------------------------------

# Entry on day `time` of those who have an institution; three rules, of which measurements may be missing; whoever has
# a weight loss above 50 is cut off at the end. The list: at most one rule unknown, entered on days 100 to 700.
make_recruitment <- function() {
  rules <- c("age >= 60", "pat.karno >= 70", "meal.cal >= 500")
  entry <- ifelse(is.na(lung$inst), NA, lung$time)
  met <- sapply(rules, function(text) with(lung, eval(parse(text = text))))
  met[is.na(entry), ] <- NA
  all_met <- rowSums(met) == 3
  inside <- all_met & !(!is.na(lung$wt.loss) & lung$wt.loss > 50)
  unknown <- rowSums(is.na(met))
  after <- list(!is.na(entry), entry >= 100 & entry <= 700, !(met[, 1] %in% FALSE), !(met[, 2] %in% FALSE),
                !(met[, 3] %in% FALSE), inside | unknown > 0, unknown <= 1, inside)
  left <- Reduce(function(a, b) a & (b %in% TRUE), after, accumulate = TRUE)
  on <- which(left[[7]])
  on <- on[order(unknown[on], -entry[on], as.character(on), method = "radix")]
  status <- ifelse(is.na(lung$ph.karno), NA, (lung$ph.karno - 50) / 10 + lung$sex)  # 1 to 7, as a status from 0
  save_oracle("recruitment", list(lung = one("lung.csv, 228 rows"), listed = one("numbers of rows, from 1")),
    list = list(rules = rules, entry = entry, met = lapply(seq_along(rules), function(j) unname(as.integer(met[, j]))),
                inside = as.integer(inside %in% TRUE), n = c(nrow(lung), vapply(left, sum, 0)), listed = on,
                unknown = unname(unknown[on])),
    enrolment = list(status = status, n = c(nrow(lung), vapply(1:7, function(s) sum(status >= s, na.rm = TRUE), 0))))
}

# ---- all of it ------------------------------------------------------------------------------------

makers <- list(cox_breast = make_cox_breast, cox_breast_baseline = make_cox_breast_baseline, cox_lung = make_cox_lung,
  splines = make_splines, km_breast = make_km_breast, km_lung = make_km_lung, logrank = make_logrank, glm_breast = make_glm_breast,
  competing_myeloma = make_competing_myeloma, describe = make_describe, predict = make_predict,
  worklist = make_worklist, recruitment = make_recruitment)
wanted <- commandArgs(trailingOnly = TRUE)
for (name in if (length(wanted)) wanted else names(makers)) makers[[name]]()
