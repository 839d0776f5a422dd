# Reference results of components, k-means and mixtures, computed by R from a demo table of the package.
#
#   Rscript tests/oracles/make_phenotypes.R      from the top of the repository; some seconds
#
# Debian packages: r-cran-mclust r-cran-jsonlite. What it holds stands in tests/oracles/README.md.

suppressPackageStartupMessages({ library(mclust); library(jsonlite) })
options(warn = 1, stringsAsFactors = FALSE)

myeloma <- read.csv("src/confrere/demos/myeloma.csv", na.strings = "")
x <- with(myeloma, data.frame(age = age, hgb = hgb, `log(creat)` = log(creat), mspike = mspike, check.names = FALSE))
x <- x[complete.cases(x), ]
n <- nrow(x)

# ---- prcomp ------------------------------------------------------------------------------------------------------
components <- prcomp(x, scale. = TRUE)
sign_of <- apply(components$rotation, 2, function(v) sign(v[which(abs(v) >= max(abs(v)) - 1e-6)[1]]))
rotation <- sweep(components$rotation, 2, sign_of, `*`)

# ---- kmeans, from the start along the first component --------------------------------------------------------------
spread <- apply(x, 2, function(v) sqrt(mean((v - mean(v))^2)))
z <- sweep(sweep(as.matrix(x), 2, colMeans(x)), 2, spread, `/`)
start_of <- function(k) outer(qnorm((seq_len(k) - 0.5) / k) * components$sdev[1], rotation[, 1])
lloyd <- lapply(2:4, function(k) {
  got <- kmeans(z, centers = start_of(k), iter.max = 1000, algorithm = "Lloyd")
  order <- order(-got$size)
  list(k = k, size = got$size[order], withinss = got$withinss[order], centers = unname(got$centers[order, ]),
       betweenss = got$betweenss, totss = got$totss, iter = got$iter)
})

# ---- mclust, from the same start: equal weights, half of everybody's covariance ----------------------------------------
everybody <- crossprod(z) / n
mixture <- function(model, k) {
  sigma <- if (model == "VVV") everybody / 2 else diag(ncol(z)) / 2
  start <- list(pro = rep(1 / k, k), mean = t(start_of(k)),
                variance = list(modelName = model, d = ncol(z), G = k, sigma = array(sigma, c(ncol(z), ncol(z), k))))
  start$variance <- if (model == "VVV") {
    c(start$variance, list(cholsigma = array(chol(sigma), c(ncol(z), ncol(z), k))))
  } else {
    c(start$variance, list(scale = rep(0.5, k), shape = matrix(1, ncol(z), k)))
  }
  got <- em(modelName = model, data = z, parameters = start, control = emControl(tol = c(1e-14, 1e-14), itmax = c(1e6, 1e6)))
  p <- got$parameters
  order <- order(-p$pro)
  loglik <- got$loglik - n * sum(log(spread))
  entropy <- -sum(ifelse(got$z > 0, got$z * log(got$z), 0))
  list(model = model, k = k, pro = p$pro[order], mean = unname(t(p$mean[, order] * spread + colMeans(x))),
       variance = lapply(order, function(c) unname(p$variance$sigma[, , c] * outer(spread, spread))),
       loglik = loglik, bic = -bic(model, loglik, n, ncol(z), k), entropy = entropy,
       size = as.vector(table(factor(max.col(got$z), levels = order))))
}

write_json(list(
  software = list(R = R.version.string, mclust = as.character(packageVersion("mclust"))),
  data = "myeloma.csv: complete rows of age, hgb, log(creat), mspike; standardised with n, not n - 1, for kmeans and em",
  n = n,
  prcomp = list(call = "prcomp(x, scale. = TRUE)", sdev = components$sdev, rotation = unname(rotation)),
  kmeans = list(call = "kmeans(z, centers = start_of(k), iter.max = 1000, algorithm = 'Lloyd')", fits = lloyd),
  em = list(call = "em(modelName, z, parameters = start, control = emControl(tol = 1e-14))",
            fits = list(mixture("VVV", 2), mixture("VVV", 3), mixture("VVI", 3)))
), "tests/oracles/phenotypes.json", auto_unbox = TRUE, digits = NA, pretty = TRUE)
