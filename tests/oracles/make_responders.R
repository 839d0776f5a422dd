# Reference results for effects that differ between people, computed by R from the demo table of the package.
#
#   Rscript tests/oracles/make_responders.R      from the top of the repository; a minute
#
# Debian packages: r-base-core r-cran-sandwich r-cran-numderiv r-cran-jsonlite r-cran-survival. Folds and halves are those of the keyed
# hash under an empty key, a digit for each woman, in tests/oracles/responders_parts.json (test_responders.py compares
# them). Models are those of glm(), regressions those of lm() with the HC1 sandwich; the variance of the x-learner is that
# of the stacked equations, with numerical Jacobians; AUTOC and Qini are integrated numerically, and their standard
# errors go by numerical derivatives of the integrals by the shares and sums of the classes.

suppressPackageStartupMessages({ library(numDeriv); library(jsonlite); library(sandwich); library(survival) })
options(warn = 1, stringsAsFactors = FALSE)
breast <- read.csv("src/confrere/demos/breast.csv", na.strings = "")
breast$size <- factor(breast$size, c("<=20", "20-50", ">50"))
parts <- fromJSON("tests/oracles/responders_parts.json")
breast$receptor <- log(breast$pgr + 1)
breast$fold <- as.integer(strsplit(parts$folds, "")[[1]])
breast$half <- as.integer(strsplit(parts$halves, "")[[1]])
terms <- "age + meno + size + grade + nodes"
bounds <- c(0.02, 0.98)
tight <- list(epsilon = 1e-15, maxit = 100)

# The models of both folds, each fitted to the people of the other; then everybody's nuisances and scores, by these
# models or with other coefficients. The outcome stands in the column y, of `family`.
models_of <- function(d) lapply(0:1, function(f) {
  rest <- d[d$fold != f, ]
  list(e = glm(as.formula(paste("hormon ~", terms)), binomial, rest, control = tight),
       m = glm(as.formula(paste("y ~ hormon * (", terms, ")")), family, rest, control = tight))
})
at <- function(d, models, theta = lapply(models, function(m) list(coef(m$e), coef(m$m)))) {
  out <- d; out$e <- out$m0 <- out$m1 <- NA_real_
  for (f in 0:1) {
    rows <- which(d$fold == f)
    x <- model.matrix(delete.response(terms(models[[f + 1]]$e)), d[rows, ])
    z <- lapply(0:1, function(a) {
      set <- d[rows, ]; set$hormon <- a
      model.matrix(delete.response(terms(models[[f + 1]]$m)), set)
    })
    out$e[rows] <- pmin(pmax(plogis(drop(x %*% theta[[f + 1]][[1]])), bounds[1]), bounds[2])
    out$m0[rows] <- family$linkinv(drop(z[[1]] %*% theta[[f + 1]][[2]]))
    out$m1[rows] <- family$linkinv(drop(z[[2]] %*% theta[[f + 1]][[2]]))
  }
  out$g0 <- out$m0 + (1 - out$hormon) * (out$y - out$m0) / (1 - out$e)
  out$g1 <- out$m1 + out$hormon * (out$y - out$m1) / out$e
  out$psi <- out$g1 - out$g0
  out
}
hc1 <- function(fit) unname(vcovHC(fit, type = "HC1"))

learners <- function(d) {
  models <- models_of(d)
  n <- at(d, models)
  v <- cbind(1, n$age, n$nodes)
  dr <- lm(psi ~ age + nodes, n)
  n$at <- n$hormon - n$e
  n$yt <- n$y - n$e * n$m1 - (1 - n$e) * n$m0
  r <- lm(yt ~ 0 + I(at) + I(at * age) + I(at * nodes), n)
  target <- function(n) ifelse(n$hormon == 1, n$y - n$m0, n$m1 - n$y)
  weight <- function(n) ifelse(n$hormon == 1, 1 - n$e, n$e)
  x <- lm(target(n) ~ age + nodes, n, weights = weight(n))
  u <- v * (weight(n) * (target(n) - drop(v %*% coef(x))))
  total <- u
  for (f in 1:2) for (which in 1:2) {
    model <- models[[f]][[which]]
    by <- jacobian(function(b) {
      theta <- lapply(models, function(m) list(coef(m$e), coef(m$m)))
      theta[[f]][[which]] <- b
      k <- at(d, models, theta)
      colSums(v * (weight(k) * (target(k) - drop(v %*% coef(x)))))
    }, coef(model))
    scores <- model.matrix(model) * residuals(model, "response")  # of canonical links
    part <- scores %*% (vcov(model) / summary(model)$dispersion) %*% t(by)
    total[d$fold != f - 1, ] <- total[d$fold != f - 1, ] + part
  }
  bread <- solve(t(v) %*% (v * weight(n)))
  size <- nrow(d)
  list(
    ate = c(mean(n$psi), sqrt(mean((n$psi - mean(n$psi))^2) / size)),
    dr = list(estimate = unname(coef(dr)), vcov = hc1(dr)),
    r = list(estimate = unname(coef(r)), vcov = hc1(r)),
    x = list(estimate = unname(coef(x)), vcov = bread %*% crossprod(total) %*% bread * size / (size - 3))
  )
}

# --- learnt in one half, tested in the other --------------------------------------------------------------------------

family <- binomial()
breast$y <- breast$recur
everybody <- learners(breast)

# Times to recurrence as pseudo-values of each arm's curve (the infinitesimal jackknife of pseudo()), on exact days; of a
# recurrence that a death without one precedes, those of the incidence among competing causes.
family <- gaussian()
fate <- factor(ifelse(breast$recur == 1, 1, 2 * breast$death), 0:2, c("alive", "relapse", "death"))
pseudos <- list(
  rmst = drop(pseudo(survfit(Surv(rtime, recur) ~ hormon, breast), times = 1826, type = "RMST")),
  risk = 1 - drop(pseudo(survfit(Surv(rtime, recur) ~ hormon, breast), times = 1826)),
  by_size = drop(pseudo(survfit(Surv(rtime, recur) ~ hormon + size, breast), times = 1826, type = "RMST")),
  cause = pseudo(survfit(Surv(rtime, fate) ~ hormon, breast, id = breast$pid), times = 1826)[, "relapse"]
)
followed <- lapply(pseudos, function(v) {
  breast$y <- v
  c(learners(breast), list(pseudo = unname(v[c(1, 500, 1000, 1500, 2000, 2500)])))
})

breast$y <- breast$receptor
learn <- learners(breast[breast$half == 0, ])
d <- breast[breast$half == 1, ]
d <- at(d, models_of(d))
d$s <- drop(cbind(1, d$age, d$nodes) %*% learn$dr$estimate)
d$centred <- d$s - mean(d$s)
blp <- lm(psi ~ centred, d)
spread <- sqrt(mean(d$centred^2))
edges <- sort(c(mean(d$s) + spread * qnorm(1:4 / 5), -parts$threshold))
d$class <- findInterval(d$s, edges)
se <- function(v) sqrt(mean((v - mean(v))^2) / (length(v) - 1))
told <- function(part) list(n = length(part$psi), treated = sum(part$hormon), estimate = mean(part$psi), se = se(part$psi))
classes <- unname(lapply(split(d, d$class), told))

# lower is better: the best are those with the smallest effect; TOC(u) is their effect less that of all
best <- split(-d$psi, d$class)
p <- lengths(best) / nrow(d); m <- sapply(best, sum) / nrow(d)
toc <- function(u, p, m) {
  ends <- cumsum(p) / sum(p); b <- findInterval(u, ends) + 1
  (c(0, cumsum(m))[b] + (u - c(0, ends)[b]) * m[b] / p[b]) / u - sum(m)
}
area <- function(power) function(v) {
  p <- v[seq_along(best)]; m <- v[-seq_along(best)]; ends <- c(0, cumsum(p) / sum(p))
  p <- p / sum(p)
  sum(sapply(seq_along(p), function(b) {
    u <- (ends[b] + ends[b + 1]) / 2 + (ends[b + 1] - ends[b]) / 2 * nodes
    sum(shares * (ends[b + 1] - ends[b]) / 2 * sapply(pmin(u, ends[b + 1] - 1e-14), toc, p = p, m = m) * u^power)
  }))
}
k <- 1:199; off <- k / sqrt(4 * k^2 - 1)  # Gauss-Legendre on 200 nodes (Golub & Welsch)
jacobi <- matrix(0, 200, 200); jacobi[cbind(k, k + 1)] <- off; jacobi[cbind(k + 1, k)] <- off
eig <- eigen(jacobi, symmetric = TRUE); nodes <- eig$values; shares <- 2 * eig$vectors[1, ]^2
rate <- function(power) {
  of <- area(power)
  slope <- grad(of, c(p, m))
  b <- d$class - min(d$class) + 1
  phi <- slope[b] + slope[length(p) + b] * -d$psi
  c(of(c(p, m)), sqrt(mean((phi - mean(phi))^2) / nrow(d)))
}

rule <- d$s < -parts$threshold
value <- function(v) c(mean(v), sqrt(mean((v - mean(v))^2) / length(v)))
net <- -d$psi - parts$threshold
leaf <- function(text) {
  inside <- with(d, eval(parse(text = gsub(" and ", " & ", gsub("not ", "!", text)))))
  a <- d[inside, ]; b <- d[!inside, ]
  c(told(a), difference = mean(a$psi) - mean(b$psi), difference_se = sqrt(se(a$psi)^2 + se(b$psi)^2))
}

# Trees valued: leaves are treated that gain in the half that learns. The policy tree is found by trying all.
l <- breast[breast$half == 0, ]
l <- at(l, models_of(l))
inside <- function(d, text) with(d, eval(parse(text = gsub(" and ", " & ", gsub("not ", "!", text)))))
gain <- function(part) sum(-part$psi - parts$threshold)
enough <- function(part) nrow(part) >= 50 && sum(part$hormon) >= 5 && sum(1 - part$hormon) >= 5
bare <- function(text) gsub("^not \\(|\\)$", "", text)
search <- function(part, depth, before = character()) {
  spelt <- paste(before[order(match(bare(before), parts$criteria))], collapse = " and ")
  best <- list(gain = max(gain(part), 0), rules = spelt)
  for (text in if (depth > 0) setdiff(parts$criteria, bare(before))) {
    met <- inside(part, text)
    if (!enough(part[met, ]) || !enough(part[!met, ])) next
    sides <- list(search(part[met, ], depth - 1, c(before, text)),
                  search(part[!met, ], depth - 1, c(before, sprintf("not (%s)", text))))
    both <- sides[[1]]$gain + sides[[2]]$gain
    if (both > best$gain + 1e-9) best <- list(gain = both, rules = c(sides[[1]]$rules, sides[[2]]$rules))
  }
  best
}
tree <- function(rules) {
  treat <- sapply(rules, function(text) gain(l[inside(l, text), ]) > 0)
  chosen <- Reduce(`|`, lapply(rules[treat], function(text) inside(d, text)), rep(FALSE, nrow(d)))
  list(rules = rules, treat = unname(treat), share = mean(chosen), values = list(
    "treat by the tree" = value(ifelse(chosen, d$g1, d$g0)),
    "tree less everybody" = value(-net * !chosen), "tree less nobody" = value(net * chosen)))
}
out <- list(
  trees = list(causal = tree(parts$rules), policy = tree(search(l, 2)$rules)),
  everybody = everybody, followed = followed, learn = learn, threshold = parts$threshold,
  calibration = list(estimate = unname(coef(blp)), vcov = hc1(blp)), classes = classes,
  autoc = rate(0), qini = rate(1),
  value = list("treat by the rule" = value(ifelse(rule, d$g1, d$g0)), "treat everybody" = value(d$g1),
               "treat nobody" = value(d$g0), "rule less everybody" = value(-net * !rule), "rule less nobody" = value(net * rule)),
  share = mean(rule), leaves = lapply(setNames(parts$rules, parts$rules), leaf)
)
write(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE), "tests/oracles/responders.json")
