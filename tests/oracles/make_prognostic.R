# Reference results for prognostic covariate adjustment, computed by R from the demo table breast of the package.
#
#   Rscript tests/oracles/make_prognostic.R      from the top of the repository; a second
#
# Debian packages: r-base-core r-cran-sandwich r-cran-jsonlite. What it holds stands in tests/oracles/README.md. Who is in the
# trial, and in which arm, is made here of the person's number: the arms are as if randomised. Models are lm's and glm's,
# variances sandwich's HC1; the variance of a planned trial is Yang and Tsiatis' of the model with one covariate, written
# out, and checked against simulated trials.

suppressPackageStartupMessages({ library(sandwich); library(jsonlite) })
breast <- read.csv("src/confrere/demos/breast.csv", na.strings = "")
breast$size <- factor(breast$size, c("<=20", "20-50", ">50"))
breast$inside <- as.numeric(breast$pid %% 4 == 0)
breast$a <- as.numeric(breast$pid %% 8 == 0)
breast$lognodes <- log(breast$nodes + 1)
outside <- breast[breast$inside == 0 & breast$a == 0, ]
inside <- breast[breast$inside == 1, ]

case <- function(outcome, score, family, covariates, share, deflate, difference, power, alpha) {
  model <- glm(as.formula(paste(outcome, "~", score)), family, outside, control = list(epsilon = 1e-15, maxit = 100))
  inside$y <- inside[[outcome]]; inside$m <- predict(model, inside, type = "response")
  fits <- list(none = lm(y ~ a, inside))
  if (covariates != "") fits$covariates <- lm(as.formula(paste("y ~ a +", covariates)), inside)
  fits$score <- lm(as.formula(paste("y ~ a + m", if (covariates != "") paste("+", covariates))), inside)
  s <- sapply(0:1, function(arm) sd(inside$y[inside$a == arm])); r <- sapply(0:1, function(arm) with(inside[inside$a == arm, ], cor(y, m)))
  variance <- function(r) {
    p <- c(1 - share, share); s0 <- s[1]; s1 <- s[2]; p0 <- p[1]; p1 <- p[2]; r0 <- r[1]; r1 <- r[2]
    s0^2 / p0 + s1^2 / p1 + (p0 * r0 * s0 + p1 * r1 * s1) / (p0 * p1) * (p0 * r0 * s0 + p1 * r1 * s1 - 2 * (p1 * r0 * s0 + p0 * r1 * s1))
  }
  v <- c(variance(c(0, 0)), variance(deflate * r))
  n <- ceiling((qnorm(1 - alpha / 2) + qnorm(power))^2 * v / difference^2)
  list(call = list(outcome = outcome, score = score, family = family, covariates = covariates, share = share, deflate = deflate,
                   difference = difference, power = power, alpha = alpha),
       n = nrow(inside), learned_from = nrow(outside), learned = unname(coef(model)),
       estimate = unname(sapply(fits, function(f) coef(f)["a"])),
       std_error = unname(sapply(fits, function(f) sqrt(vcovHC(f, "HC1")["a", "a"]))),
       sd = s, correlation = r, variance = v, people = n, control = ceiling(n * (1 - share) - 1e-9),
       reached = pnorm(difference / sqrt(v / n[1]) - qnorm(1 - alpha / 2)))
}

# The variance of the adjusted difference, times n, in 4,000 trials of 400 whose arms differ in SD and correlation.
simulated <- function() {
  set.seed(11); s <- c(1, 2); r <- c(0.8, 0.3); share <- 2 / 3; n <- 400
  est <- replicate(4000, {
    a <- as.numeric(runif(n) < share); m <- rnorm(n)
    y <- s[a + 1] * (r[a + 1] * m + sqrt(1 - r[a + 1]^2) * rnorm(n))
    coef(lm(y ~ a + m))["a"]
  })
  list(sd = s, correlation = r, share = share, n = n, variance = n * var(est))
}

out <- list(
  software = list(R = as.character(getRversion()), sandwich = as.character(packageVersion("sandwich"))),
  data = "breast demo; in the trial: pid divisible by 4; treated: by 8",
  cases = list(
    number = case("age", "lognodes + meno + grade", "gaussian", "", 0.5, 1, 4, 0.8, 0.05),
    mark = case("recur", "age + size + lognodes", "binomial", "chemo", 2 / 3, 0.9, 0.1, 0.9, 0.05)
  ),
  simulated = simulated()
)
write_json(out, "tests/oracles/prognostic.json", digits = NA, auto_unbox = TRUE)
