# Rows of sequential trials, per person, trial and period, as make_sequential.R and make_sequential_lost.R have them.
#
# People d have `start` (and `stop`) of the treatment, `time`, `event` (0 or 1) and `z`; `x` has a column per trial.

# One row per person and trial; `x` is a matrix with a column per trial, NA where it is not known (no trial from then on).
expand <- function(d, x, periods, horizon) {
  begins <- c(-Inf, periods[-length(periods)]); inside <- rep(TRUE, nrow(d))
  rows <- lapply(seq_along(periods), function(k) {
    s <- ifelse(is.na(d$start), Inf, d$start)
    inside <<- inside & d$time > periods[k] & s > begins[k] & !is.na(x[, k])
    w <- which(inside); after <- d$time[w] - periods[k]
    data.frame(id = w, trial = rep(k, length(w)), x = x[w, k], z = d$z[w], a = as.numeric(s[w] <= periods[k]),
               time = pmin(after, horizon), event = d$event[w] * (after <= horizon))
  })
  do.call(rbind, rows)
}

# Of the treated, one row per later period before which they are treated, that they are followed beyond, and of which it
# is known what a trial needs: whether they stop in it.
keep <- function(long, d, x, periods) {
  own <- long[long$a == 1, ]; K <- length(periods)
  rows <- lapply(seq_len(nrow(own)), function(r) {
    i <- own$id[r]; k <- own$trial[r]; s <- ifelse(is.na(d$stop[i]), Inf, d$stop[i]); made <- NULL
    for (j in seq_len(K)[seq_len(K) > k]) {
      if (d$time[i] <= periods[j] || is.na(x[i, j])) break
      stops <- as.numeric(s <= periods[j])
      made <- rbind(made, data.frame(id = i, trial = j, x = x[i, j], z = d$z[i], stops = stops))
      if (stops) break
    }
    made
  })
  do.call(rbind, rows)
}

# Per protocol: until when, from the beginning of its trial, each row is followed, given all rows and people's times.
adhere <- function(long, d, periods, horizon, kept = NULL) {
  last <- tapply(long$trial, long$id, max); K <- length(periods)
  end <- mapply(function(i, k, a) {
    L <- last[[as.character(i)]]; starts <- any(long$id == i & long$trial == L & long$a == 1)
    known <- kept[kept$id == i, ]
    until <- if (any(known$stops == 1)) max(known$trial) else min(max(k, known$trial) + 1, K)
    leave <- if (a == 1 && is.null(kept)) periods[K] else if (a == 1) periods[until] else if (starts) periods[L] else periods[min(L + 1, K)]
    min(d$time[i], leave)
  }, long$id, long$trial, long$a)
  after <- end - periods[long$trial]
  long$event <- d$event[long$id] * (d$time[long$id] <= end) * (after <= horizon)
  long$time <- pmin(after, horizon)
  long
}

# Rows split where further periods end; `product` is what the untreated weigh more there, from propensities e of all rows.
split_periods <- function(long, e, periods, kept = NULL, s = NULL) {
  columns <- c("id", "trial", "x", "z", "a", "v", "w", "product", "row", "start", "time", "event")
  stays <- matrix(1, max(long$id), length(periods)); stays[cbind(long$id, long$trial)] <- 1 - e
  goes <- matrix(1, max(long$id), length(periods))
  if (!is.null(kept)) goes[cbind(kept$id, kept$trial)] <- 1 - s
  long$product <- 1; long$start <- 0
  rows <- lapply(unique(long$trial), function(k) {
    own <- long[long$trial == k & long$time > 0, ]
    if (!nrow(own)) return(NULL)
    later <- periods[periods > periods[k]] - periods[k]
    if (!length(later)) return(own)
    own <- survSplit(Surv(start, time, event) ~ ., own, cut = later, episode = "stretch")
    for (l in seq_along(later)) {
      behind <- own$a == 0 & own$stretch > l
      own$product[behind] <- own$product[behind] / stays[cbind(own$id[behind], k + l)]
      behind <- own$a == 1 & own$stretch > l
      own$product[behind] <- own$product[behind] / goes[cbind(own$id[behind], k + l)]
    }
    own$stretch <- NULL
    own
  })
  do.call(rbind, lapply(rows, function(r) r[, intersect(columns, names(r))]))
}
