# cv.glmnet of the people of a file: Rscript penalised.R people.npy gaussian|binomial LAMBDA   prints JSON.
# The file has the terms, a number, a mark and the fold (benchmarks/penalised.py). LAMBDA is a penalty at which the
# coefficients are told, by a fit of its own, which the clock does not see.
suppressMessages(library(glmnet))
given <- commandArgs(TRUE)

con <- file(given[1], "rb")
invisible(readBin(con, "raw", 8))
header <- rawToChar(readBin(con, "raw", readBin(con, "integer", 1, size = 2, signed = FALSE, endian = "little")))
shape <- as.numeric(strsplit(gsub(".*shape': \\(|\\).*", "", header), ",")[[1]])
all <- matrix(readBin(con, "double", prod(shape), endian = "little"), shape[1], shape[2])
close(con)

p <- shape[2] - 3
x <- all[, 1:p, drop = FALSE]
y <- all[, if (given[2] == "gaussian") p + 1 else p + 2]
fold <- as.integer(all[, p + 3]) + 1L
rm(all)

glmnet.control(fdev = 0) # the whole path, as the others have it
some <- seq(1, shape[1], by = max(1, shape[1] %/% 5000))
invisible(cv.glmnet(x[some, ], y[some], family = given[2], nfolds = 5))
took <- system.time(cv <- cv.glmnet(x, y, family = given[2], nlambda = 100, lambda.min.ratio = 1e-4, foldid = fold))
own <- as.numeric(given[3])
near <- sort(unique(c(own, cv$lambda[cv$lambda > own])), decreasing = TRUE)
fit <- glmnet(x, y, family = given[2], lambda = near, thresh = 1e-14)
coefficients <- as.numeric(coef(fit)[, length(near)])
at <- which.min(abs(log(cv$lambda) - log(own))) # how much larger its own loss is at our penalty
above <- (cv$cvm[at] - min(cv$cvm)) / cv$cvsd[which.min(cv$cvm)]
cat(sprintf('{"wall": %.3f, "cpu": %.3f, "lambda": %.10g, "above": %.3g, "version": "%s", "coef": [%s]}\n',
            took[["elapsed"]], took[["user.self"]] + took[["sys.self"]], cv$lambda.min, above, packageVersion("glmnet"),
            paste(sprintf("%.12g", coefficients), collapse = ", ")))
