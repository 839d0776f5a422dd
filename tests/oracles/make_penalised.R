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
# debiased: b + Theta U(b) from glmnet's b, the rows of Theta by glmnet of each term on the others.
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
  fit <- glmnet(x, y, family = family, lambda = 0.02, thresh = 1e-20, maxit = 1e8)
  b <- as.numeric(coef(fit))
  eta <- as.numeric(cbind(1, x) %*% b)
  mu <- if (family == "gaussian") eta else plogis(eta)
  weights <- if (family == "gaussian") rep(1, n) else mu * (1 - mu)
  got <- theta_of(weights, how)
  estimate <- b[-1] + as.numeric(got$theta %*% (t(x) %*% (y - mu))) / n
  left <- y - as.numeric(x %*% estimate)
  dispersion <- if (family == "gaussian") sum((left - mean(left))^2) / (n - ncol(x) - 1) else 1
  variance <- diag(got$theta %*% got$information %*% t(got$theta)) / n * dispersion
  list(family = family, how = how, penalty = 0.02, estimate = estimate, std_error = sqrt(variance))
}
made$debiased <- list(debiased(y0, "gaussian", "nodewise"), debiased(y0, "gaussian", "inverse"),
                      debiased(d$recur, "binomial", "nodewise"), debiased(d$recur, "binomial", "inverse"))

told <- summary(lm(y0 ~ x))$coefficients[-1, ]
made$least_squares <- list(estimate = as.numeric(told[, 1]), std_error = as.numeric(told[, 2]))

made$terms <- terms
made$software <- list(R = R.version.string, glmnet = as.character(packageVersion("glmnet")),
                      survival = as.character(packageVersion("survival")))
write(toJSON(made, digits = NA, auto_unbox = TRUE, pretty = TRUE), file.path(here, "penalised.json"))
