# Parts of sentences that messages share.

# Arguments that have another name in R.
R_NAMES <- c(
    genes = "features", n_top = "n.features", n_runs = "n.runs",
    unknown_rate = "unknown.rate", unlabeled_category = "unlabeled",
    library_size = "library.size", random_state = "seed.use"
)

argument <- function(name) {
    known <- name %in% names(R_NAMES)
    name[known] <- R_NAMES[name[known]]
    gsub("_", ".", name, fixed = TRUE)
}

# A value as a user would type it.
typed <- function(value) {
    if (length(value) == 0L) {
        return("NULL")
    }
    value <- unlist(value)
    words <- if (is.character(value)) {
        paste0("\"", value, "\"")
    } else {
        format(value, trim = TRUE)
    }
    if (length(words) == 1L) words else paste0("c(", paste(words, collapse = ", "), ")")
}

# "1 cell", "1,200 cells"
how_many <- function(n, one, many = paste0(one, "s")) {
    paste(count(n), ngettext(n, one, many))
}

# "2 of 30 cells"
share_of <- function(n, total, one, many = paste0(one, "s")) {
    paste(count(n), "of", how_many(total, one, many))
}

# `names`: some of the `n` groups.
left_out <- function(names, n_groups, why, n = length(names)) {
    paste0(
        share_of(n, n_groups, "group"), " cannot be compared and ",
        ngettext(n, "is", "are"), " left out (", quoted(names), "). The first: ", why
    )
}

# What a setting takes, by Python's name of it.
KINDS <- c(
    str = "a name", bool = "TRUE or FALSE", int = "one number",
    float = "one number"
)

number_of_python <- function(text) {
    special <- c(nan = "NA", inf = "Inf", "-inf" = "-Inf")
    if (text %in% names(special)) special[[text]] else text
}

RAW_COUNTS <- paste0(
    "scRAE models raw counts: give those, not normalised, scaled or corrected ",
    "values."
)

ESTIMATED <- paste0(
    "Estimated counts (SoupX, DecontX, CellBender, RSEM, salmon, alevin) can be ",
    "rounded: RunSCRAE(object, round.counts = TRUE)."
)
