# What four outcomes say of two treatments, with the delta method on numerical gradients (numDeriv); sourced by
# make_interaction.R and make_interaction_survival.R.

delta <- function(of, theta, vcov) {
  slope <- grad(of, theta)
  c(of(theta), sqrt(drop(slope %*% vcov %*% slope)))
}
excess <- function(r) r[4] - r[2] - r[3] + r[1]
measures <- function(r_of, theta, vcov) list(
  RERI = delta(function(t) excess(r_of(t)) / r_of(t)[1], theta, vcov),
  "attributable proportion" = delta(function(t) excess(r_of(t)) / r_of(t)[4], theta, vcov),
  ratio = delta(function(t) { r <- r_of(t); log(r[4] * r[1] / (r[2] * r[3])) }, theta, vcov),
  "synergy index" = {
    index <- function(t) { r <- r_of(t); (r[4] - r[1]) / (r[2] + r[3] - 2 * r[1]) }
    r <- r_of(theta)
    if (min(r[4] - r[1], r[2] + r[3] - 2 * r[1]) > 0) delta(function(t) log(index(t)), theta, vcov) else NULL
  }
)
