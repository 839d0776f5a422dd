# Penalised regressions beside glmnet: makes penalised.json.
#
#     Rscript tests/oracles/make_penalised.R          # a minute, from the top of the repository
#
# Needs glmnet, survival, jsonlite (Debian: r-cran-glmnet r-cran-survival r-cran-jsonlite) and reads the breast demo of the
# package. The folds are those of the package's hash under an empty key, a digit for each woman, in
# tests/oracles/penalised_folds.json (test_penalised.py compares them).
#
# gaussian ... cox_untied: cv.glmnet with these folds, to a tight tolerance, over the grid of glmnet.
# cox_efron: no package has it; the lasso by coordinate descent on coxph's score and information, stratified by hospital,
# until the score is at its bound to 1e-10.
# debiased, debiased_cox: b + Theta U(b) from glmnet's b (with ties, from cox_efron's), the rows of Theta by glmnet of each
# term on the others (van de Geer et al., Ann Stat 2014;42:1166, equations 3 to 6 and section 3), and its variance Theta I Theta'.
# least_squares: lm, which the linear model debiased by the inverse is.
suppressMessages({library(glmnet); library(survival); library(jsonlite)})
glmnet.control(fdev = 0, devmax = 1, mxitnr = 5000, epsnr = 1e-14)

here <- "tests/oracles"
d <- read.csv("src/confrere/demos/breast.csv")
d$fold <- as.integer(strsplit(fromJSON(file.path(here, "penalised_folds.json"))$folds, "")[[1]]) + 1
d$mid <- as.numeric(d$size == "20-50")
d$large <- as.numeric(d$size == ">50")
d$untied <- d$rtime + d$pid / 1e5
terms <- c("age", "meno", "mid", "large", "grade", "nodes", "pgr", "er")
x <- as.matrix(d[, terms])
w <- 1 + d$pid %% 3
y0 <- log(d$dtime + 1) + d$death
counts <- d$nodes %/% 2 + d$pid %% 2
sd_n <- apply(x, 2, function(v) sqrt(mean((v - mean(v))^2)))
n <- nrow(d)

crossed <- function(y, family, alpha, many = 30, ...) {
  grid <- glmnet(x, y, family = family, alpha = alpha, nlambda = many, lambda.min.ratio = 1e-4, ...)$lambda
  # the first of a ridge is infinite in the algorithm, and glmnet writes down what follows on the log scale
  cv <- cv.glmnet(x, y, family = family, alpha = alpha, lambda = grid, foldid = d$fold, thresh = 1e-14, maxit = 1e8, ...)
  fit <- cv$glmnet.fit
  at <- function(value) as.numeric(coef(fit)[, which(fit$lambda == value)])
  list(alpha = alpha, lambda = grid, mean = cv$cvm, std_error = cv$cvsd, lambda_min = cv$lambda.min,
       lambda_1se = cv$lambda.1se, df = fit$df, deviance_ratio = fit$dev.ratio,
       min = at(cv$lambda.min), within = at(cv$lambda.1se))
}

made <- list(
  gaussian = crossed(y0, "gaussian", 0.7),
  ridge = crossed(y0, "gaussian", 0),
  weighted = crossed(y0, "gaussian", 0.5, weights = w),
  binomial = crossed(d$recur, "binomial", 1),
  factors = crossed(d$recur, "binomial", 1, penalty.factor = c(0, 1, 1, 1, 1, 2, 1, 1), standardize = FALSE),
  poisson = crossed(counts, "poisson", 0.5),
  cox_untied = crossed(Surv(d$untied, d$recur), "cox", 1)
)
free <- glm(recur ~ x, binomial, d, epsilon = 1e-14)
made$adaptive <- crossed(d$recur, "binomial", 1, penalty.factor = 1 / abs(coef(free)[-1] * sd_n))
gamma <- glmnet(x, d$rtime + 1, family = Gamma(link = "log"), alpha = 0.5, lambda = c(0.1, 0.03, 0.01), thresh = 1e-20)
made$gamma <- list(lambda = gamma$lambda, estimate = as.matrix(coef(gamma)))

# the lasso of Cox's model with Efron's ties ---------------------------------------------------------------------
soft <- function(v, by) sign(v) * max(abs(v) - by, 0)
efron <- function(lambda) {
  z <- scale(x, scale = sd_n)
  b <- rep(0, ncol(z))
  for (outer in 1:100) {
    m <- coxph(Surv(rtime, recur) ~ z + strata(hospital), data = d, init = b, iter = 0, ties = "efron")
    u <- colSums(residuals(m, type = "score"))
    left <- ifelse(b != 0, abs(u - n * lambda * sign(b)), pmax(abs(u) - n * lambda, 0))
    if (max(left) < 1e-10 * n) break
    h <- solve(m$var)
    target <- b
    for (inner in 1:5000) {
      before <- target
      for (j in seq_along(b)) {
        g <- u[j] - sum(h[j, ] * (target - b))
        target[j] <- soft(target[j] + g / h[j, j], n * lambda / h[j, j])
      }
      if (max(abs(target - before)) < 1e-15) break
    }
    b <- target
  }
  list(lambda = lambda, estimate = b / sd_n, left = max(left) / n)
}
made$cox_efron <- lapply(c(0.05, 0.02, 0.005), efron)

# debiasing ------------------------------------------------------------------------------------------------------
theta_of <- function(weights, how) {
  centred <- sweep(x, 2, colSums(weights * x) / sum(weights))
  information <- t(centred) %*% (weights * centred) / n
  if (how == "inverse") return(list(theta = solve(information), information = information))
  p <- ncol(x)
  theta <- diag(p)
  for (j in 1:p) {
    size <- sqrt(information[j, j] * n / sum(weights))
    fit <- glmnet(x[, -j], x[, j], weights = weights, lambda = sqrt(log(p) / n) * size, thresh = 1e-20, maxit = 1e8)
    gamma <- as.numeric(coef(fit))[-1]
    theta[j, -j] <- -gamma
    theta[j, ] <- theta[j, ] / (information[j, j] - sum(information[j, -j] * gamma))
  }
  list(theta = theta, information = information)
}
debiased <- function(y, family, how) {
  link <- if (family == "gamma") Gamma(link = "log") else family
  fit <- glmnet(x, y, family = link, lambda = 0.02, thresh = 1e-20, maxit = 1e8)
  b <- as.numeric(coef(fit))
  eta <- as.numeric(cbind(1, x) %*% b)
  mu <- switch(family, gaussian = eta, binomial = plogis(eta), exp(eta))
  # of the canonical links the score is y - mu; of gamma's logarithm (y - mu) / mu, with an information of 1
  weights <- switch(family, binomial = mu * (1 - mu), poisson = mu, rep(1, n))
  u <- if (family == "gamma") (y - mu) / mu else y - mu
  got <- theta_of(weights, how)
  estimate <- b[-1] + as.numeric(got$theta %*% (t(x) %*% u)) / n
  left <- y - as.numeric(x %*% estimate)
  dispersion <- switch(family, gaussian = sum((left - mean(left))^2) / (n - ncol(x) - 1),
                       gamma = sum(u^2) / (n - 1 - fit$df), 1)
  variance <- diag(got$theta %*% got$information %*% t(got$theta)) / n * dispersion
  list(family = family, how = how, penalty = 0.02, estimate = estimate, std_error = sqrt(variance))
}
outcomes <- list(gaussian = y0, binomial = d$recur, poisson = counts, gamma = d$rtime + 1)
made$debiased <- unlist(lapply(names(outcomes), function(family) lapply(c("nodewise", "inverse"), function(how)
  debiased(outcomes[[family]], family, how))), recursive = FALSE)

# of Cox's model: score and information are coxph's; the information is a matrix and no sum of products of people's
# terms, so that the regressions of Theta are glmnet's on its Cholesky factor, whose products are the matrix
theta_of_matrix <- function(information, lambda, how) {
  if (how == "inverse") return(solve(information))
  p <- ncol(information)
  size <- sqrt(diag(information))
  root <- chol(information / outer(size, size)) * sqrt(p)
  theta <- diag(p)
  for (j in 1:p) {
    fit <- glmnet(root[, -j], root[, j], lambda = lambda, standardize = FALSE, intercept = FALSE, thresh = 1e-25, maxit = 1e8)
    gamma <- as.numeric(coef(fit))[-1]
    theta[j, -j] <- -gamma
    theta[j, ] <- theta[j, ] / (1 - sum(root[, j] * (root[, -j] %*% gamma)) / p)
  }
  theta / outer(size, size)
}
debiased_cox <- function(time, ties, lambda, b, how) {
  m <- coxph(Surv(time, d$recur) ~ x + strata(d$hospital), init = b, iter = 0, ties = ties)
  information <- solve(m$var)
  theta <- theta_of_matrix(information, sqrt(log(ncol(x)) / sum(d$recur)), how)
  estimate <- b + as.numeric(theta %*% colSums(residuals(m, type = "score")))
  list(family = "cox", ties = ties, how = how, penalty = lambda, estimate = estimate,
       std_error = sqrt(diag(theta %*% information %*% t(theta))))
}
untied <- glmnet(x, stratifySurv(Surv(d$untied, d$recur), d$hospital), family = "cox", lambda = 0.02, thresh = 1e-20, maxit = 1e8)
made$debiased_cox <- unlist(lapply(c("nodewise", "inverse"), function(how) list(
  debiased_cox(d$untied, "breslow", 0.02, as.numeric(coef(untied)), how),
  debiased_cox(d$rtime, "efron", 0.02, made$cox_efron[[2]]$estimate, how))), recursive = FALSE)

told <- summary(lm(y0 ~ x))$coefficients[-1, ]
made$least_squares <- list(estimate = as.numeric(told[, 1]), std_error = as.numeric(told[, 2]))

made$terms <- terms
made$software <- list(R = R.version.string, glmnet = as.character(packageVersion("glmnet")),
                      survival = as.character(packageVersion("survival")))
write(toJSON(made, digits = NA, auto_unbox = TRUE, pretty = TRUE), file.path(here, "penalised.json"))
