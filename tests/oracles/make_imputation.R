# Reference results of multiple imputation, computed by R's mice from the demo tables of the package.
#
#   Rscript tests/oracles/make_imputation.R      from the top of the repository; some minutes
#
# Debian packages: r-cran-mice r-cran-survival r-cran-jsonlite. What it holds stands in tests/oracles/README.md.

suppressPackageStartupMessages({ library(mice); library(survival); library(jsonlite) })
options(warn = 1, stringsAsFactors = FALSE)
demos <- "src/confrere/demos"
read_demo <- function(name) read.csv(file.path(demos, name), na.strings = "")

# Pooled results: estimate, standard error, between-imputation variance, fmi, df by term.
pooled <- function(fits, m) {
  got <- pool(fits)$pooled
  list(m = m, term = as.character(got$term), estimate = got$estimate, std_error = sqrt(got$t), between = got$b,
       riv = got$riv, fmi = got$fmi, df = got$df)
}

# ---- lung: a Cox model, two numbers incomplete; who misses ph.ecog or an institution is left out ------------------
lung <- read_demo("lung.csv")
lung <- lung[!is.na(lung$inst) & !is.na(lung$ph.ecog), ]
lung$dead <- as.numeric(lung$status == 2)
small <- lung[, c("inst", "time", "dead", "age", "sex", "ph.ecog", "meal.cal", "wt.loss")]
small$hazard <- nelsonaalen(small, time, dead)
who <- make.predictorMatrix(small)
who[, c("inst", "time")] <- 0
imputed <- mice(small, m = 500, maxit = 10, method = ifelse(colSums(is.na(small)) > 0, "norm", ""), seed = 1,
                predictorMatrix = who, printFlag = FALSE)
cox <- pooled(with(imputed, coxph(Surv(time, dead) ~ age + sex + ph.ecog + meal.cal + wt.loss + strata(inst))), 500)
linear <- pooled(with(imputed, lm(ph.ecog ~ age + sex + meal.cal + wt.loss)), 500)

# The posterior of an equation whose predictors are complete: the regression of those who have the column.
alone <- lm(meal.cal ~ age + sex + ph.ecog, lung)
first <- list(coef = unname(coef(alone)), vcov = unname(vcov(alone)), sigma = sigma(alone), df = alone$df.residual)

# A linear model with one incomplete column: nothing but the posterior of one equation.
one <- lung[, c("age", "sex", "ph.ecog", "meal.cal")]
single <- mice(one, m = 1000, maxit = 1, method = c("", "", "", "norm"), seed = 2, printFlag = FALSE)
single <- pooled(with(single, lm(ph.ecog ~ age + sex + meal.cal)), 1000)

# ---- breast: a logistic model; two levels, three levels and a number incomplete, by rules that see the outcome ----
breast <- read_demo("breast.csv")
breast <- breast[, c("pid", "recur", "hormon", "age", "size", "nodes")]
breast$hormon[(breast$pid * 7919) %% 101 < 15 + 15 * breast$recur] <- NA
breast$size[(breast$pid * 10473) %% 103 < 25] <- NA
breast$nodes[(breast$pid * 12997) %% 107 < 15 + 10 * (breast$age > 50)] <- NA
breast$size <- factor(breast$size, c("<=20", "20-50", ">50"))
breast$hormon <- factor(breast$hormon)
who <- make.predictorMatrix(breast)
who[, "pid"] <- 0
imputed <- mice(breast, m = 300, maxit = 5, method = c("", "", "logreg", "", "polyreg", "norm"), seed = 3,
                predictorMatrix = who, printFlag = FALSE)
logistic <- pooled(with(imputed, glm(recur ~ hormon + age + size + nodes, binomial)), 300)
missing <- colSums(is.na(breast))[c("hormon", "size", "nodes")]

# ---- Rubin's rules for given estimates ---------------------------------------------------------------------------
set.seed(4)
q <- rnorm(12, 1, 0.3)
u <- 0.2 + 0.1 * runif(12)
rules <- lapply(c(Inf, 60, 8), function(df) {
  got <- pool.scalar(q, u, n = df + 1, k = 1)
  list(df_complete = if (is.finite(df)) df else NULL, estimate = got$qbar, total = got$t, df = got$df, riv = got$r,
       fmi = got$fmi)
})

software <- c(R = paste(R.version$major, R.version$minor, sep = "."),
              sapply(c("mice", "survival"), function(p) as.character(packageVersion(p))))
content <- list(
  software = as.list(software), data = "see tests/oracles/make_imputation.R",
  cox = cox, linear = linear, single = single, logistic = logistic, missing = as.list(missing), first = first,
  rubin = list(q = q, u = u, rules = rules)
)
write(toJSON(content, auto_unbox = TRUE, digits = NA, pretty = TRUE, null = "null"), "tests/oracles/imputation.json")
