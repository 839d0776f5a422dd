# Writes the three demo tables from the data sets of the R package survival.
#
#   Rscript scripts/export_demo_data.R [FOLDER]        (default: src/confrere/demos)
#
# Needs nothing but R and survival (Debian: r-base-core, r-cran-survival). The output is
# the same to the byte on every run. What the tables are and where they come from stands in
# src/confrere/demos/PROVENANCE.md.
#
# rotterdam and mgus2 came from one hospital each. Their people are dealt here to invented
# hospitals by the rules below; lung has its real institutions and is left as it is.

suppressPackageStartupMessages(library(survival))

folder <- commandArgs(trailingOnly = TRUE)
folder <- if (length(folder)) folder[1] else "src/confrere/demos"

write_table <- function(table, name) {
  path <- file.path(folder, name)
  write.csv(table, path, row.names = FALSE, quote = FALSE, na = "", eol = "\n")
  cat(path, nrow(table), "rows\n")
}

# A score made of the person's number (spread evenly, since the rows of the source are sorted)
# and of two columns, so that the invented hospitals differ in size and in case mix.
deal <- function(score, cuts, hospitals) hospitals[findInterval(score, cuts) + 1]

breast <- survival::rotterdam
breast$hospital <- deal(
  (37 * breast$pid) %% 100 + 20 * (breast$nodes > 3) - 10 * (breast$age >= 65),
  c(12, 32, 58), c("gouda", "delft", "dordrecht", "rotterdam"))
write_table(breast, "breast.csv")
print(table(breast$hospital))

lung <- survival::lung
write_table(lung, "lung.csv")
print(table(lung$inst, useNA = "ifany"))

# As in the vignette "Multi-state models and competing risks" of survival: the first of
# progression and death counts. In nine people both fall in the same month: progression.
myeloma <- survival::mgus2
myeloma$etime <- with(myeloma, ifelse(pstat == 0, futime, ptime))
myeloma$event <- with(myeloma, factor(ifelse(pstat == 0, 2 * death, 1), 0:2,
                                      c("censored", "progression", "death")))
myeloma$hospital <- deal(
  (37 * myeloma$id) %% 100 + 15 * (myeloma$mspike >= 1.5) %in% TRUE - 10 * (myeloma$age >= 75),
  c(20, 50), c("lacrosse", "mankato", "rochester"))
write_table(myeloma, "myeloma.csv")
print(table(myeloma$hospital, myeloma$event))
stopifnot(all(myeloma$etime > 0), all(breast$rtime > 0), all(lung$time > 0))
