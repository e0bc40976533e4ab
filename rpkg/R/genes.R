# Names of genes: the same gene may be written in several ways.

# Seurat writes "-" where a name had "_" or "|".
dashed <- function(names) gsub("[_|]", "-", names)

# "ENSG00000141510.18" is version 18 of an Ensembl id.
without_version <- function(names) {
    sub("^(ENS[A-Z]*[0-9]+)\\.[0-9]+$", "\\1", dashed(names))
}

#' Where genes are, by their names
#'
#' Names that are not there as they are may be there as Seurat writes them, or in
#' another version of an Ensembl id; only where that leaves no doubt.
#' @param wanted,known Character vectors; `known` without duplicates.
#' @return Positions in `known`, NA for genes that are not there.
#' @noRd
match_genes <- function(wanted, known) {
    positions <- match(wanted, known)
    for (form in list(dashed, without_version)) {
        open <- which(is.na(positions))
        if (length(open) == 0L) break
        theirs <- form(known)
        ours <- form(wanted[open])
        found <- match(ours, theirs)
        doubtful <- ours %in% ours[duplicated(ours)] |
            ours %in% theirs[duplicated(theirs)] | found %in% positions
        found[doubtful] <- NA
        positions[open] <- found
    }
    positions
}

#' Why none of the genes is there, as a question or an answer
#'
#' @param wanted Names that were looked for.
#' @param source A [counts_source()].
#' @noRd
why_no_gene <- function(wanted, source) {
    capitals <- capitals_of(wanted, source$names)
    if (nzchar(capitals)) {
        return(sub("^; ", "", capitals))
    }
    if (any(wanted %in% source$cells)) {
        return("these are names of cells: genes have to be the rows, and cells the columns")
    }
    ids <- function(names) mean(grepl("^ENS[A-Z]*[0-9]+", names)) > 0.5
    if (ids(wanted) == ids(source$names) && all(grepl("^gene[0-9]+$", source$names))) {
        return(paste0(
            "do the counts lack the names of their genes? rownames(counts) would have them"
        ))
    }
    "are they symbols on one side and Ensembl ids on the other?"
}

# "; 'cd3d' is there as 'CD3D'", or nothing.
capitals_of <- function(wanted, known) {
    there <- match(tolower(wanted), tolower(known))
    first <- which(!is.na(there))[1L]
    if (is.na(first)) {
        return("")
    }
    paste0(
        "; '", wanted[first], "' is there as '", known[there[first]], "': capitals ",
        "count, for they tell genes of mouse from those of human"
    )
}
