# Reference results for the calibration of a model of classes, computed by R from the breast demo of the package.
#
#   Rscript tests/oracles/make_temperature.R      from the top of the repository; a second
#
# Debian packages: r-base-core r-cran-jsonlite. The size of the tumour, in three classes, is predicted by scores that are
# linear in nodes and grade, too far apart and too high for the first class. `whole` are the intercepts of the second and
# third class and the slope that maximise the likelihood of all people, with errors from the second derivatives; `paired`
# is glm() without an intercept of who has one of their two likeliest classes, on the gap between these and on which they
# are (Begg and Gray 1984). One over the slope is the temperature.

suppressPackageStartupMessages(library(jsonlite))
breast <- read.csv("src/confrere/demos/breast.csv", na.strings = "", stringsAsFactors = FALSE)
levels <- c("<=20", "20-50", ">50")
d <- breast[!is.na(breast$size) & !is.na(breast$nodes) & !is.na(breast$grade), ]
weights <- rbind(c(-0.12, -0.15), c(-0.02, 0), c(0.06, 0.3)); start <- c(0.9, 0.6, -1.6)
score <- 1.8 * (as.matrix(d[, c("nodes", "grade")]) %*% t(weights) + rep(start, each = nrow(d)))
own <- match(d$size, levels); n <- nrow(d)

minus <- function(b) {
  s <- b[3] * score + rep(c(0, b[1:2]), each = n)
  sum(log(rowSums(exp(s)))) - sum(s[cbind(seq_len(n), own)])
}
whole <- optim(c(0, 0, 1), minus, method = "BFGS", hessian = TRUE, control = list(reltol = 1e-15, maxit = 1000))

two <- t(apply(-score, 1, function(s) order(s)[1:2]))
first <- two[, 1] == own; second <- two[, 2] == own; either <- first | second
gap <- score[cbind(seq_len(n), two[, 1])] - score[cbind(seq_len(n), two[, 2])]
of <- function(k) (two[, 1] == k) - (two[, 2] == k)
x <- cbind(of(2), of(3), gap)[either, ]
paired <- glm(first[either] ~ 0 + x, binomial, control = list(epsilon = 1e-15, maxit = 100))

out <- list(software = list(R = R.version.string), n = n,
            whole = whole$par, whole_se = sqrt(diag(solve(whole$hessian))),
            paired = unname(coef(paired)), paired_se = unname(sqrt(diag(vcov(paired)))),
            wrong = sum(!first), neither = sum(!either),
            wrong_limits = as.numeric(prop.test(sum(!first), n, correct = FALSE)$conf.int))
writeLines(toJSON(out, auto_unbox = TRUE, digits = NA, pretty = TRUE), "tests/oracles/temperature.json")
