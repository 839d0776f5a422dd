# Reference results for effects whose propensity is a lasso or a ridge: glmnet at a penalty, weights, and stacked
# equations.
#
#   Rscript tests/oracles/make_penalised_propensity.R      from the top of the repository
#
# Debian packages: r-base-core r-cran-glmnet r-cran-jsonlite. A generated table with eight confounders of which two
# matter. The penalties (given in the order lasso, ridge, or those of the file) are those that cross-validation over the
# folds of the tests chooses; that cross-validation equals cv.glmnet's is held in make_penalised.R. The variance is that
# of the kept terms with the Hajek means, by numerical derivatives. Their score equations have lambda (alpha sign(b) sd +
# (1 - alpha) b sd^2) n on the right, of which the second part moves with b.

suppressPackageStartupMessages({ library(glmnet); library(jsonlite) })
options(warn = 1, stringsAsFactors = FALSE)
lambdas <- as.numeric(commandArgs(TRUE))
if (!length(lambdas)) lambdas <- unlist(lapply(fromJSON("tests/oracles/penalised_propensity.json")$cases, `[[`, "lambda"))

set.seed(3)
n <- 600; p <- 8
x <- matrix(round(rnorm(n * p), 3), n); colnames(x) <- paste0("x", seq_len(p))
a <- rbinom(n, 1, plogis(0.6 * x[, 1] - 0.4 * x[, 2])); y <- round(x[, 1] + x[, 2] + a + rnorm(n), 3)

case <- function(alpha, lambda) {
  fit <- glmnet(x, a, "binomial", alpha = alpha, lambda = lambda, thresh = 1e-20, maxit = 1e7)
  b <- as.vector(coef(fit)); kept <- which(b[-1] != 0)
  z <- cbind(1, x[, kept, drop = FALSE]); beta <- b[c(1, kept + 1)]
  sd <- c(0, apply(x[, kept, drop = FALSE], 2, function(v) sqrt(mean((v - mean(v))^2))))
  pull <- function(beta) lambda * (alpha * sign(b[c(1, kept + 1)]) * sd + (1 - alpha) * beta * sd^2)
  score <- function(theta) {
    beta <- theta[-(1:2)]
    e <- plogis(drop(z %*% beta)); w <- ifelse(a == 1, 1 / e, 1 / (1 - e))
    cbind(w * (1 - a) * (y - theta[1]), w * a * (y - theta[2]), z * (a - e) - rep(pull(beta), each = n))
  }
  e0 <- plogis(drop(z %*% beta)); w <- ifelse(a == 1, 1 / e0, 1 / (1 - e0))
  stopifnot(max(abs(colMeans(z * (a - e0)) - pull(beta))) < 1e-8)   # glmnet's maximum solves the equations
  theta <- c(weighted.mean(y[a == 0], w[a == 0]), weighted.mean(y[a == 1], w[a == 1]), beta)
  h <- 1e-4
  bread <- sapply(seq_along(theta), function(j) {
    step <- function(by) { t <- theta; t[j] <- t[j] + by; colSums(score(t)) }
    (8 * (step(h) - step(-h)) - (step(2 * h) - step(-2 * h))) / (12 * h)
  })
  vcov <- (solve(bread) %*% crossprod(score(theta)) %*% t(solve(bread)))[1:2, 1:2]
  list(lambda = lambda, beta = b, mean = theta[1:2], vcov = vcov)
}

out <- list(software = list(R = as.character(getRversion()), glmnet = as.character(packageVersion("glmnet"))),
            data = "generated, see make_penalised_propensity.R", people = data.frame(x, a = a, y = y),
            cases = list(lasso = case(1, lambdas[1]), ridge = case(0, lambdas[2])))
write(toJSON(out, digits = NA, auto_unbox = TRUE, dataframe = "columns"), "tests/oracles/penalised_propensity.json")
