# Groups of hospitals left out in turn, the penalty chosen within the others: makes left_out.json.
#
#     Rscript tests/oracles/make_left_out.R           # some seconds, from the top of the repository
#
# Needs glmnet and jsonlite (Debian: r-cran-glmnet r-cran-jsonlite) and reads the breast demo of the package. Its people are
# dealt to six hospitals of two groups, by their number. cv.glmnet of the people of one group, with the folds of the
# package's hash (penalised_folds.json) and the grid of glmnet, gives lambda.min and the coefficients; the other group's
# log loss and Brier score are the means over its people, and the slope is glm's.
suppressMessages({library(glmnet); library(jsonlite)})
glmnet.control(fdev = 0, devmax = 1, mxitnr = 5000, epsnr = 1e-14)

here <- "tests/oracles"
d <- read.csv("src/confrere/demos/breast.csv")
d$fold <- as.integer(strsplit(fromJSON(file.path(here, "penalised_folds.json"))$folds, "")[[1]]) + 1
d$group <- ifelse(seq_len(nrow(d)) %% 6 < 3, "first", "second")
terms <- c("age", "meno", "nodes", "grade")
x <- as.matrix(d[, terms])

left <- function(group) {
  rest <- d$group != group; inside <- !rest
  grid <- glmnet(x[rest, ], d$recur[rest], family = "binomial", nlambda = 20, lambda.min.ratio = 1e-4)$lambda
  cv <- cv.glmnet(x[rest, ], d$recur[rest], family = "binomial", lambda = grid, foldid = d$fold[rest], thresh = 1e-14,
                  maxit = 1e8)
  fit <- cv$glmnet.fit
  b <- as.numeric(coef(fit)[, which(fit$lambda == cv$lambda.min)])
  eta <- as.numeric(b[1] + x[inside, ] %*% b[-1]); p <- plogis(eta); y <- d$recur[inside]
  list(n = sum(inside), events = sum(y), lambda = cv$lambda.min, estimate = b,
       log_loss = -mean(ifelse(y == 1, log(p), log(1 - p))), brier = mean((y - p)^2),
       slope = unname(coef(glm(y ~ eta, binomial, epsilon = 1e-14))[2]))
}
made <- list(software = list(R = R.version.string, glmnet = as.character(packageVersion("glmnet"))), terms = terms,
             first = left("first"), second = left("second"))
writeLines(toJSON(made, auto_unbox = TRUE, digits = NA, pretty = TRUE), file.path(here, "left_out.json"))
