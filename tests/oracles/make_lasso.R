# Reference results for effects whose propensity is a lasso: glmnet at a penalty, weights, and stacked equations.
#
#   Rscript tests/oracles/make_lasso.R      from the top of the repository
#
# Debian packages: r-base-core r-cran-glmnet r-cran-jsonlite. A generated table with eight confounders of which two
# matter. The penalty is the one that cross-validation over the folds of the tests chooses; that cross-validation equals
# cv.glmnet's is held in make_penalised.R. The variance is that of the kept terms, whose score equations have lambda
# sign(b) on the right, with the Hajek means, by numerical derivatives.

suppressPackageStartupMessages({ library(glmnet); library(jsonlite) })
options(warn = 1, stringsAsFactors = FALSE)
lambda <- as.numeric(commandArgs(TRUE)[1])
if (is.na(lambda)) lambda <- fromJSON("tests/oracles/lasso.json")$lambda

set.seed(3)
n <- 600; p <- 8
x <- matrix(round(rnorm(n * p), 3), n); colnames(x) <- paste0("x", seq_len(p))
a <- rbinom(n, 1, plogis(0.6 * x[, 1] - 0.4 * x[, 2])); y <- round(x[, 1] + x[, 2] + a + rnorm(n), 3)

fit <- glmnet(x, a, "binomial", lambda = lambda, thresh = 1e-20, maxit = 1e7)
b <- as.vector(coef(fit)); kept <- which(b[-1] != 0)
z <- cbind(1, x[, kept, drop = FALSE]); beta <- b[c(1, kept + 1)]
e0 <- plogis(drop(z %*% beta)); pull <- colSums(z * (a - e0)) / n   # which does not move
score <- function(theta) {
  e <- plogis(drop(z %*% theta[-(1:2)])); w <- ifelse(a == 1, 1 / e, 1 / (1 - e))
  cbind(w * (1 - a) * (y - theta[1]), w * a * (y - theta[2]), z * (a - e) - rep(pull, each = n))
}
w <- ifelse(a == 1, 1 / e0, 1 / (1 - e0))
theta <- c(weighted.mean(y[a == 0], w[a == 0]), weighted.mean(y[a == 1], w[a == 1]), beta)
h <- 1e-4
bread <- sapply(seq_along(theta), function(j) {
  step <- function(by) { t <- theta; t[j] <- t[j] + by; colSums(score(t)) }
  (8 * (step(h) - step(-h)) - (step(2 * h) - step(-2 * h))) / (12 * h)
})
vcov <- (solve(bread) %*% crossprod(score(theta)) %*% t(solve(bread)))[1:2, 1:2]
out <- list(software = list(R = as.character(getRversion()), glmnet = as.character(packageVersion("glmnet"))),
            data = "generated, see make_lasso.R", lambda = lambda, people = data.frame(x, a = a, y = y), beta = b,
            mean = theta[1:2], vcov = vcov)
write(toJSON(out, digits = NA, auto_unbox = TRUE, dataframe = "columns"), "tests/oracles/lasso.json")
