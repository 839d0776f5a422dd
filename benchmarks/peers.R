# One fit by R in this process: Rscript peers.R "cox: R coxph" people.npy  prints JSON.
# "reference" prints the fits that all others are held against: coxph.fit with eps = 1e-15 (stratified by hospital,
# pooled, and pooled on cells of so many days), glm.fit with epsilon = 1e-14. Two Newton steps follow: coxph halves
# its last step when rounding lets the likelihood fall, which leaves 1e-9 standard errors at 100,000 people.
suppressMessages(library(survival))

people <- function(path) { # an .npy file of doubles, column by column (benchmarks/people.py)
  con <- file(path, "rb")
  on.exit(close(con))
  readBin(con, "raw", 8)
  header <- rawToChar(readBin(con, "raw", readBin(con, "integer", 1, size = 2, signed = FALSE, endian = "little")))
  shape <- as.numeric(strsplit(gsub(".*shape': \\(|\\).*", "", header), ",")[[1]])
  all <- matrix(readBin(con, "double", prod(shape), endian = "little"), shape[1], shape[2])
  p <- shape[2] - 4
  x <- all[, 1:p, drop = FALSE]
  colnames(x) <- paste0("x", seq_len(p) - 1)
  list(x = x, time = all[, p + 1], event = all[, p + 2], ill = all[, p + 3], hospital = all[, p + 4])
}

some <- function(d, n) {
  rows <- seq(1, length(d$time), by = max(1, length(d$time) %/% n))
  c(list(x = d$x[rows, , drop = FALSE]), lapply(d[-1], function(column) column[rows]))
}

found <- function(coef, var) list(coef = unname(coef), se = unname(sqrt(diag(as.matrix(var)))))
frame <- function(d) data.frame(d$x, d[-1])
right <- function(d) paste(colnames(d$x), collapse = " + ")

cox_fit <- function(d) {
  y <- Surv(d$time, d$event)
  strata <- as.integer(factor(d$hospital))
  function() {
    fit <- coxph.fit(d$x, y, strata, control = coxph.control(), method = "efron", rownames = NULL)
    found(fit$coefficients, fit$var)
  }
}

logistic_fit <- function(d) {
  x <- cbind(1, d$x)
  function() {
    fit <- glm.fit(x, d$ill, family = binomial())
    p <- seq_len(ncol(x))
    found(fit$coefficients[-1], chol2inv(fit$qr$qr[p, p, drop = FALSE])[-1, -1])
  }
}

cox_tight <- function(d, stratified = TRUE) {
  y <- Surv(d$time, d$event)
  strata <- if (stratified) as.integer(factor(d$hospital))
  at <- function(init, steps) {
    control <- suppressWarnings(coxph.control(eps = 1e-15, iter.max = steps)) # eps under toler.chol is meant
    suppressWarnings(coxph.fit(d$x, y, strata, init = init, control = control, method = "efron", rownames = NULL))
  }
  fit <- at(NULL, 50)
  for (step in 1:2) fit <- at(fit$coefficients + drop(fit$var %*% crossprod(d$x, fit$residuals)), 0)
  found(fit$coefficients, fit$var)
}

logistic_tight <- function(d) {
  x <- cbind(1, d$x)
  coef <- glm.fit(x, d$ill, family = binomial(), control = glm.control(epsilon = 1e-14, maxit = 50))$coefficients
  for (step in 1:3) {
    mu <- plogis(drop(x %*% coef))
    var <- solve(crossprod(x * sqrt(mu * (1 - mu))))
    if (step < 3) coef <- coef + drop(var %*% crossprod(x, d$ill - mu))
  }
  found(coef[-1], var[-1, -1])
}

methods <- list(
  "cox: R coxph" = function(d) {
    data <- frame(d)
    formula <- as.formula(paste("Surv(time, event) ~", right(d), "+ strata(hospital)"))
    function() { fit <- coxph(formula, data); found(coef(fit), vcov(fit)) }
  },
  "cox: R coxph.fit" = cox_fit,
  "logistic: R glm" = function(d) {
    data <- frame(d)
    formula <- as.formula(paste("ill ~", right(d)))
    function() { fit <- glm(formula, binomial(), data); found(coef(fit)[-1], vcov(fit)[-1, -1]) }
  },
  "logistic: R glm.fit" = logistic_fit
)

memory <- function(key) { # in bytes; exact on Linux, elsewhere not known
  if (!file.exists("/proc/self/status")) return(NA)
  line <- grep(paste0("^", key), readLines("/proc/self/status"), value = TRUE)
  1024 * as.numeric(gsub("[^0-9]", "", line))
}

measure <- function(method, d) {
  warm <- system.time(methods[[method]](some(d, 5000))())[[3]]
  run <- methods[[method]](d)
  rm(d)
  invisible(gc())
  if (file.exists("/proc/self/clear_refs")) cat("5", file = "/proc/self/clear_refs")
  before <- memory("VmRSS")
  took <- system.time(fit <- run(), gcFirst = FALSE)
  peak <- memory("VmHWM")
  c(list(wall = took[[3]], cpu = took[[1]] + took[[2]], peak = peak, more = peak - before, warm = warm), fit)
}

json <- function(value) {
  if (is.list(value)) {
    return(paste0("{", paste0('"', names(value), '": ', vapply(value, json, ""), collapse = ", "), "}"))
  }
  numbers <- ifelse(is.na(value), "null", sprintf("%.17g", value))
  if (length(value) == 1 && is.null(attr(value, "many"))) numbers else paste0("[", paste(numbers, collapse = ", "), "]")
}

arguments <- commandArgs(TRUE)
d <- people(arguments[2])
listed <- function(fit) lapply(fit, function(v) structure(v, many = TRUE))
if (arguments[1] == "reference") {
  days <- as.numeric(arguments[3])
  pooled <- cells <- cox_tight(d, FALSE)
  if (days > 1) cells <- cox_tight(replace(d, "time", list(ceiling(d$time / days) * days)), FALSE)
  fits <- list(strata = cox_tight(d), pooled = pooled, cells = cells, logistic = logistic_tight(d))
  answer <- lapply(fits, listed)
} else {
  answer <- measure(arguments[1], d)
  answer[c("coef", "se")] <- listed(answer[c("coef", "se")])
}
cat(json(answer), "\n", sep = "")
