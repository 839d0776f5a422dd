# Reference results of rates, by R's survival::pyears, poisson.test and prop.test, on people drawn here.
#
#   Rscript tests/oracles/make_rates.R      from the top of the repository; some seconds
#
# Debian packages: r-cran-survival r-cran-jsonlite. What it holds stands in tests/oracles/README.md.

suppressPackageStartupMessages({ library(survival); library(jsonlite) })
set.seed(20261122)
n <- 400
day <- function(text) as.numeric(as.Date(text))

# Days since 1970-01-01, whole. `outcome` and `end` NA for who never has it; stays: several of a person.
people <- data.frame(birth = floor(runif(n, -16000, 9000)), sex = sample(c("female", "male"), n, TRUE),
                     from = floor(runif(n, day("2008-01-01"), day("2014-06-01"))))
people$to <- floor(people$from + runif(n, 300, 3600))
people$outcome <- ifelse(runif(n) < 0.5, floor(people$from + runif(n) * (people$to - people$from)), NA)
people$end <- pmin(people$to, floor(people$outcome + rexp(n, 1 / 400)))
many <- rpois(n, 1.2)
stays <- data.frame(person = rep(seq_len(n), many))
stays$start <- floor(people$from[stays$person] + runif(nrow(stays)) * (people$to - people$from)[stays$person])
stays$stop <- pmin(people$to[stays$person], floor(stays$start + rexp(nrow(stays), 1 / 120)))

# ---- time at risk: a year after observation began, from the age of 20, 2010 to 2016; person-days by survival::pyears
years <- day(sprintf("%d-01-01", 2010:2017))
ages <- c(20, 40, 60)
start <- pmax(people$from + 365, people$birth + floor(20 * 365.25), years[1])
stop <- pmin(people$to + 1, years[8])
use <- start < stop & !(!is.na(people$outcome) & people$outcome < start)
event <- !is.na(people$outcome) & people$outcome < stop
stop <- ifelse(event, people$outcome + 1, stop)
risk <- data.frame(start, stop, event = as.numeric(event), time = stop - start, people)[use, ]
risk$year <- tcut(risk$start, years, labels = 2010:2016)
risk$age <- tcut(risk$start - risk$birth, c(floor(ages * 365.25), 60000), labels = c("20-39", "40-59", "60+"))
table_of <- function(fit) list(events = as.numeric(fit$event), days = as.numeric(fit$pyears))
limits <- function(events, time) {
  found <- mapply(function(x, t) poisson.test(x, t)$conf.int, events, time)
  list(estimate = events / time, conf_low = found[1, ], conf_high = found[2, ])
}
incidence <- lapply(list(year = pyears(Surv(time, event) ~ year, risk, scale = 1),
                         age = pyears(Surv(time, event) ~ age, risk, scale = 1),
                         sex = pyears(Surv(time, event) ~ sex, risk, scale = 1),
                         all = pyears(Surv(time, event) ~ 1, risk, scale = 1)),
                    function(fit) { made <- table_of(fit); c(made, limits(made$events, made$days / 365.25)) })

# Fay and Feuer's limits, written out as in epitools::ageadjust.direct
standard <- c("20-39" = 6000 + 6000 + 6500 + 7000, "40-59" = 7000 * 3 + 6500, "60+" = 6000 + 5500 + 5000 + 4000 + 2500 + 1500 + 1000)
w <- standard / sum(standard)
time <- incidence$age$days / 365.25
rate <- sum(w * incidence$age$events / time)
variance <- sum(w^2 * incidence$age$events / time^2)
wm <- max(w / time)
standardised <- list(estimate = rate, conf_low = qgamma(0.025, rate^2 / variance, scale = variance / rate),
  conf_high = qgamma(0.975, (rate + wm)^2 / (variance + wm^2), scale = (variance + wm^2) / (rate + wm)))

# ---- prevalence: on 1 July, and in the year
seen_from <- pmax(people$from + 365, people$birth + floor(20 * 365.25))
prevalence <- function(low, high) {
  a <- pmax(seen_from, low); b <- pmin(people$to + 1, high)
  here <- a < b
  ill <- here & !is.na(people$outcome) & people$outcome < b & people$end >= a
  found <- mapply(function(x, m) prop.test(x, m, correct = FALSE)$conf.int, sum(ill), sum(here))
  c(cases = sum(ill), people = sum(here), conf_low = found[1, ], conf_high = found[2, ])
}
july <- day(sprintf("%d-07-01", 2010:2016))
point <- t(mapply(prevalence, july, july + 1))
period <- t(mapply(prevalence, years[-8], years[-1]))

# ---- person-time by state, day after day: windows from 5 days after a stay began to 30 after its end
own <- pmax(people$from, people$birth + floor(20 * 365.25))
own_stop <- people$to + 1
keep <- own < own_stop & !(!is.na(people$outcome) & people$outcome < own)
own_event <- !is.na(people$outcome) & people$outcome < own_stop
own_stop <- ifelse(own_event, people$outcome + 1, own_stop)
states <- matrix(0, 0, 4)
for (i in which(keep)) {
  days <- own[i]:(own_stop[i] - 1)
  mine <- stays[stays$person == i, ]
  exposed <- rep(FALSE, length(days))
  for (j in seq_len(nrow(mine))) exposed <- exposed | (days >= mine$start[j] + 5 & days <= mine$stop[j] + 30)
  state <- ifelse(exposed, 2, ifelse(cumsum(exposed) > 0, 3, 1))
  stratum <- (floor((own[i] - people$birth[i]) / 365.25) >= 50) * 2 + (people$sex[i] == "male")
  states <- rbind(states, cbind(stratum, 1:3, tabulate(state, 3), own_event[i] * (1:3 == state[length(state)])))
}
tabled <- aggregate(states[, 3:4], list(state = states[, 2], stratum = states[, 1]), sum)
names(tabled)[3:4] <- c("days", "events")
e <- matrix(tabled$events, ncol = 3, byrow = TRUE); t <- matrix(tabled$days, ncol = 3, byrow = TRUE)
a <- e[, 2]; b <- e[, 1] + e[, 3]; t1 <- t[, 2]; t0 <- t[, 1] + t[, 3]
crude <- poisson.test(c(sum(a), sum(b)), c(sum(t1), sum(t0)))
above <- sum(a * t0 / (t1 + t0)); below <- sum(b * t1 / (t1 + t0))
se <- sqrt(sum((a + b) * t1 * t0 / (t1 + t0)^2) / (above * below))
mh <- above / below

writeLines(toJSON(list(
  software = list(R = paste(R.version$major, R.version$minor, sep = "."), survival = as.character(packageVersion("survival"))),
  people = people, stays = stays, incidence = incidence, standardised = standardised,
  point = point, period = period, states = tabled,
  crude = list(rate_ratio = unname(crude$estimate), rr_low = crude$conf.int[1], rr_high = crude$conf.int[2], p_value = crude$p.value),
  mh = list(rate_ratio = mh, rr_low = exp(log(mh) - qnorm(0.975) * se), rr_high = exp(log(mh) + qnorm(0.975) * se))),
  digits = NA, na = "null", auto_unbox = TRUE, dataframe = "columns"), "tests/oracles/rates.json")
